"""What `crewcap run` shows: the live view for people, one object for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from crewcap.cli.context import Call
from crewcap.cli.live.closing import Closing
from crewcap.cli.live.gauges import GaugeReader
from crewcap.cli.live.opening import Opening, lefts_of, walls
from crewcap.cli.live.rests import waited_seconds
from crewcap.cli.live.view import LiveView
from crewcap.cli.money.books import makeup_of
from crewcap.cli.money.past import zone_of
from crewcap.cli.money.report_rows import makeup_line
from crewcap.cli.runs.needs import needs_of
from crewcap.cli.runs.view import as_json, cost_of, totals_of, wall_seconds
from crewcap.cli.screen.figures import Screen
from crewcap.cli.screen.when import in_zone
from crewcap.core import savings
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Run
from crewcap.runner.account import account
from crewcap.runner.moments import Counted, Moment
from crewcap.runner.reach import loosened
from crewcap.workspaces import Sandbox

if TYPE_CHECKING:
    from crewcap.runner.jobs import Job


@dataclass(slots=True)
class RunScreen:
    """One run on the screen; with --json the story goes to stderr and the object to stdout."""

    call: Call
    hint: str = ""  # what Ctrl-C does, where it is not the usual
    _view: LiveView | None = None
    _gauges: GaugeReader | None = None
    _scopes: tuple[str, ...] = ()

    def begin(self, job: Job, run: Run, sandbox: Sandbox) -> None:
        """The head of a run that this job carries out; from here on moments are shown."""
        opening = Opening(
            run=run,
            agent=f"{job.agent_title} {run.agent_version}",
            lefts=lefts_of(job.plan.balances),
            uncommitted=job.left_out.count,
            sandbox=walls(sandbox.rung, job.plan.project),
            notes=(
                *(f"gives up: {loss}" for loss in sandbox.loses),
                *loosened(sandbox.rung, job.plan.project),
                *run.issue.notes,
                *job.found.notes,
            ),
        )
        self.open(opening, (balance.scope for balance in job.plan.balances))

    def open(self, opening: Opening, scopes: Iterable[str]) -> None:
        """The same with a head that is known; what is left of these scopes is told at the end."""
        self._scopes = tuple(scopes)
        write = _say_nothing if self.call.quiet else _writer(self.call)
        screen = self._screen()
        self._view = LiveView(
            screen=screen, write=write, monotonic=time.monotonic, opening=opening, measure=self._screen
        )
        self._view.hint = self.hint or self._view.hint
        self._gauges = GaugeReader(self.call, opening.run) if screen.is_terminal and not self.call.quiet else None
        self._view.begin()

    def feed(self, moment: Moment) -> None:
        """Something happened."""
        if self._view is None:
            return
        if isinstance(moment, Counted) and self._gauges is not None:
            self._view.know(self._gauges.read())
        self._view.feed(moment)

    def stand(self, *, is_still: bool) -> None:
        """Whether nobody drives the run any more, which the rare line of a pipe says then."""
        if self._view is not None:
            self._view.stand(is_still=is_still)

    @property
    def is_drawn(self) -> bool:
        """Whether something is drawn anew as time passes."""
        return self._gauges is not None

    def leave(self) -> None:
        """What is drawn anew goes; the run goes on without us."""
        if self._view is not None:
            self._view.leave()

    def close(self, run: Run) -> None:
        """The last block, or the object."""
        totals, now = totals_of(self.call, run), self.call.clock()
        waited_s = waited_seconds(run, self.call.app.runs.story(run.id), now)
        if self._view is not None:
            self._view.write = _writer(self.call)
            self._view.close(
                Closing(
                    run=replace(run, reason=in_zone(run.reason, zone_of(self.call))),
                    totals=totals,
                    wall_s=wall_seconds(run, now),
                    waited_s=waited_s,
                    lefts=lefts_of(one for one in self.call.app.ledger.all_balances() if one.scope in self._scopes),
                    **caching(self.call, run),
                    last=self._view.last_deed,
                    needs=needs_of(self.call, run, spent=cost_of(totals)),
                )
            )
        if self.call.as_json:
            self.call.emit({**as_json(self.call, run, totals), "waited_seconds": waited_s})

    def _screen(self) -> Screen:
        """Where the story goes, as it is now."""
        return Screen.of(sys.stderr if self.call.as_json else sys.stdout, self.call.environ)


class Caching(TypedDict):
    """What caching did, as a closing tells it."""

    saved: Money  # against the same tokens without; negative where it cost
    caches: tuple[str, ...]


def caching(call: Call, run: Run) -> Caching:
    """What caching saved, and what it lost."""
    app = call.app
    books = account(
        app.ledger,
        app.book,
        run,
        issue_cap=run.cap,
        now=call.clock(),
        cache_turns=app.cache_turns,
        prices_of=app.settings.prices_of,
    )
    return {"saved": books.parts.saved, "caches": (*savings.lines(books.caches), *_prompts(call, run))}


def _prompts(call: Call, run: Run) -> tuple[str, ...]:
    """What its prompts were made of, where the gateway counted that."""
    whole = makeup_of(call, Scope(f"run:{run.id}"))
    return (f"prompts were, estimated: {makeup_line(whole)}",) if whole.whole else ()


def _writer(call: Call) -> Callable[[str], None]:
    """Where the story goes."""
    stream = sys.stderr if call.as_json else sys.stdout

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write


def _say_nothing(text: str) -> None:
    """With --quiet the end is all there is to see."""
