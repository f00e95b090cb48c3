"""What both stores' reports have in common: the edges of a stretch of time, how far behind is too far, phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from crewcap.core.budget import KeyId
from crewcap.core.phases import phase_of
from crewcap.stores.clock import instant, micros

EVER, NEVER = 0, 2**62
QUARTER_US = 900_000_000
BEHIND = 4_000  # movements that a report adds up anew rather than write anything
PIECE = 50_000  # movements that are added up in one transaction: nobody waits long for it
PAGE = 2_000  # entries

SUMS = (
    "requests",
    "spent",
    "uncertain",
    "notional",
    "input",
    "cache_read",
    "write_5m",
    "write_1h",
    "output",
    "thinking",
)
ALIKE = ("provider", "model", "card", "kind", "size", "by_plan", "subagent", "pieces")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time, and the whole quarters of an hour in it; microseconds, and quarters since 1970."""

    since: int
    until: int
    first: int
    last: int  # not included

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> Stretch:
        """From two instants; none is without end."""
        start = EVER if since is None else max(EVER, micros(since))
        end = NEVER if until is None else max(start, micros(until))
        first, last = -(-start // QUARTER_US), end // QUARTER_US
        return cls(start, end, first, max(first, last))

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """What no whole quarter covers: at the beginning, and at the end."""
        head = (self.since, min(self.until, self.first * QUARTER_US))
        tail = (max(head[1], self.last * QUARTER_US), self.until)
        return tuple((start, end) for start, end in (head, tail) if start < end)


def phases(keys: Iterable[tuple[str, str, int]], events: Iterable[tuple[str, str, str]]) -> Mapping[KeyId, str]:
    """The phase of each key of a run: (key, run, made at) and (run, at, text of the state)."""
    states: dict[str, list[tuple[datetime, str]]] = {}
    for run, at, text in events:
        states.setdefault(run, []).append((datetime.fromisoformat(at), text.partition(" ")[0]))
    return {KeyId(key): phase_of(instant(made_at), states.get(run, ())) for key, run, made_at in keys}
