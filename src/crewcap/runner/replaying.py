"""A run that is over, watched once more: what rules would have said of it, and what came after.

What is stored of a run is fed to the very machine that watches a run while it works: its closed requests from the
ledger, and its agent's lines from the run's folder where they are still there. Lines have no time of their own; they
stand behind the request that they came from. Two things are not stored and do not come again: what was refused, and
whether the workspace changed by anything but an edit.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.agents import AgentAdapter
from crewcap.core.money import ZERO, Money, total
from crewcap.core.runs import Acted, AgentEvent, Run, Verdict
from crewcap.core.watch import Finding, Watch
from crewcap.core.watch_past import Past
from crewcap.core.watch_rules import Rules
from crewcap.core.watch_signs import Looked, Sign, Waited
from crewcap.runner.signs import of_event, requested
from crewcap.stores import Entry

_LONGEST_LINE = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What rules would have said of one run."""

    run: Run
    cost: Money
    turns: int
    findings: tuple[tuple[Finding, Money], ...] = ()  # each with what the run had cost until then

    @property
    def is_good(self) -> bool:
        """Whether it did what was asked."""
        return self.run.verdict == Verdict.FINISHED

    @property
    def end(self) -> tuple[Finding, Money] | None:
        """The finding that would have ended it, if one would have."""
        return next((found for found in self.findings if found[0].action != "note"), None)

    @property
    def after(self) -> Money:
        """What it cost after it would have been ended."""
        return self.cost - self.end[1] if self.end else ZERO


def replay(
    run: Run, entries: Sequence[Entry], events: Iterable[AgentEvent] | None, *, rules: Rules, past: Past, window: int
) -> Replayed:
    """Watch it again. `entries` in the order in which they ended; no `events` where its lines are gone."""
    if events is None:  # without its edits every run would seem idle
        rules = replace(rules, by_name={**rules.by_name, "no_change": replace(rules["no_change"], action="off")})
    watch = Watch(rules=rules, past=past, cap=run.cap, window=window)
    findings: list[tuple[Finding, Money]] = []
    for sign in _signs(entries, events or ()):
        findings += [(finding, watch.spent) for finding in watch.feed(sign)]
        if watch.wants_look:
            look = Looked(at=sign.at, turn=watch.turn, changed=False)
            findings += [(finding, watch.spent) for finding in watch.feed(look)]
    cost = total(entry.spent + entry.uncertain for entry in entries)
    return Replayed(run=run, cost=cost, turns=len(entries), findings=tuple(findings))


def events_of(transcript: Path, adapter: AgentAdapter) -> Iterator[AgentEvent] | None:
    """What an agent said, from the lines that were kept; None where they are gone."""
    packed = transcript.with_name(f"{transcript.name}.gz")  # as house-keeping leaves it
    kept = next((path for path in (transcript, packed) if path.is_file()), None)
    return _events(kept, adapter) if kept is not None else None


def _events(kept: Path, adapter: AgentAdapter) -> Iterator[AgentEvent]:
    with gzip.open(kept, "rb") if kept.suffix == ".gz" else kept.open("rb") as lines:
        while line := lines.readline(_LONGEST_LINE):
            yield from adapter.read(line)


def _signs(entries: Sequence[Entry], events: Iterable[AgentEvent]) -> Iterator[Sign]:
    """Requests in their order, and behind each what the agent did with its answer."""
    places = _Places(entries)
    fed = 0
    for event in events:
        if isinstance(event, Acted):
            reached = places.of(event)
            yield from _requests(entries, fed, reached)
            fed = max(fed, reached)
        at = entries[fed - 1].closed_at.timestamp() if fed else 0.0
        if fed and (sign := of_event(event, at=at, turn=fed)):
            yield sign
    yield from _requests(entries, fed, len(entries))


def _requests(entries: Sequence[Entry], first: int, last: int) -> Iterator[Sign]:
    for place in range(first, last):
        entry, turn = entries[place], place + 1
        took_s = (entry.closed_at - entry.booked_at).total_seconds()
        yield Waited(at=entry.closed_at.timestamp(), turn=turn, waiting_s=took_s, silent_s=took_s)
        yield requested(entry, turn=turn)


class _Places:
    """Which request each call of an agent came from: by the answer's id, else by counting the agent's answers."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_id = {entry.request_id: place for place, entry in enumerate(entries, start=1) if entry.request_id}
        self._of_agent: dict[str, list[int]] = {}
        for place, entry in enumerate(entries, start=1):
            if entry.kind == "settled":
                self._of_agent.setdefault(entry.agent, []).append(place)
        self._answers: dict[str, tuple[str, int]] = {}  # agent -> its last answer, and how many it was
        self._last = 0

    def of(self, call: Acted) -> int:
        """The place of a call's request, counted from 1; 0 = before any."""
        answer, count = self._answers.get(call.agent, ("", 0))
        if call.answer != answer or not call.answer:
            count += 1
            self._answers[call.agent] = (call.answer, count)
        known = self._of_agent.get(call.agent, [])
        counted = known[min(count, len(known)) - 1] if known else self._last
        self._last = self._by_id.get(call.answer, counted)
        return self._last
