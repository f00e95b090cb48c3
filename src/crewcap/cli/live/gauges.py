"""What a live view shows of a run beside its moments: where it stands in the books, and what runs like it cost.

Moments tell what happens; this is read from the books when they say that something was spent, so it costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from crewcap.cli.context import Call
from crewcap.cli.runs.view import cost_of, totals_of
from crewcap.core.budget import Scope
from crewcap.core.estimate import Estimate, estimate
from crewcap.core.history import NO_WORKFLOW, Job
from crewcap.core.pricing import UnknownPrice
from crewcap.core.runs import OPEN_STATES, Run, RunState, Verdict
from crewcap.stores import Entry

_LOOKED_THROUGH = 100  # of the newest runs, for what such a run costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What was read of a run."""

    state: RunState
    cached: int = 0  # tokens of its prompts that came from a cache
    prompts: int = 0  # tokens of its prompts
    context: int = 0  # tokens of the main conversation, as its last request and answer had it
    window: int | None = None  # of its model; None = not known
    expected: Estimate | None = None  # from runs like it; None = there are too few


@dataclass(slots=True)
class GaugeReader:
    """Reads the gauges of one run."""

    call: Call
    run: Run
    _gauges: Gauges = field(init=False)
    _spent: tuple[int, int] = (-1, -1)  # requests and nano-dollars, when it was read
    _since: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.run.created_at
        self._gauges = Gauges(state=self.run.state, expected=expected(self.call, self.run))

    def read(self) -> Gauges:
        """The gauges as they are now."""
        stored = self.call.app.runs.get(self.run.id)
        totals = totals_of(self.call, self.run)
        spent = (totals.requests, cost_of(totals).nano)
        if spent != self._spent:
            self._spent = spent
            usage = totals.usage
            self._gauges = replace(self._gauges, cached=usage.cache_read, prompts=usage.prompt)
            self._read_context()
        self._gauges = replace(self._gauges, state=stored.state if stored is not None else self._gauges.state)
        return self._gauges

    def _read_context(self) -> None:
        """What the last request of the main conversation held; its model's window."""
        entries = self.call.app.ledger.entries(scope=Scope(f"run:{self.run.id}"), since=self._since)
        talk = [each for each in entries if not each.agent and each.usage.prompt and self._is_main(each.model)]
        if not talk:
            return
        last = talk[-1]
        self._since = last.booked_at
        window = self._gauges.window or self._window(last)
        self._gauges = replace(self._gauges, context=last.usage.prompt + last.usage.output, window=window)

    def _is_main(self, model: str) -> bool:
        """Whether a model is the run's own, perhaps with its date; agents ask a small one for titles."""
        return model.startswith(self.run.model)

    def _window(self, entry: Entry) -> int | None:
        try:
            return self.call.app.book.card(entry.provider, entry.model, at=entry.booked_at).context_window
        except UnknownPrice:
            return None


def expected(call: Call, run: Run) -> Estimate | None:
    """What runs like it cost, where there were enough of them; only the newest runs are looked through."""
    past = [each for each in call.app.runs.list(limit=_LOOKED_THROUGH) if each.id != run.id]
    found = estimate(_jobs(call, past), workflow=NO_WORKFLOW, model=run.model, repo=run.repo)
    return found if found.basis == "history" else None


def _jobs(call: Call, runs: Sequence[Run]) -> Sequence[Job]:
    """Runs that are over and cost something, as jobs."""
    over = [run for run in runs if run.state not in OPEN_STATES]
    summed = [(run, totals_of(call, run)) for run in over]
    return [
        Job(
            name=run.name,
            workflow=NO_WORKFLOW,
            model=run.model,
            repo=run.repo,
            at=run.created_at,
            cost=cost_of(totals),
            requests=totals.requests,
            is_run=True,
            is_over=True,
            is_good=run.verdict == Verdict.FINISHED,
            was_cut=run.verdict == Verdict.BUDGET_EXHAUSTED,
        )
        for run, totals in summed
        if cost_of(totals)
    ]
