"""What both stores' reports have in common: the edges of a stretch of time, how far behind is too far, phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from crewcap.core.budget import KeyId
from crewcap.core.bundles import QUARTER_S
from crewcap.core.bundles import at as beginning
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
BRIEF = 2  # of these, that are always told apart


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


def day_number(column: str, zone: tzinfo, *, first: int, last: int) -> str:
    """SQL for the number of a quarter's day in a zone: a shift between every two changes of its clocks."""
    shifts = _shifts(zone, first, last)
    cases = "".join(f"WHEN {column} < {until} THEN {shift} " for until, shift in shifts[:-1])
    shift = f"CASE {cases}ELSE {shifts[-1][1]} END" if cases else str(shifts[-1][1])
    return f"({column} + {shift}) / 96"


def _shifts(zone: tzinfo, first: int, last: int) -> list[tuple[int, int]]:
    """Quarters by which a zone is ahead of UTC, each up to a quarter."""
    found: list[tuple[int, int]] = []
    before = _ahead(zone, first)
    for day in range(first, last + 96, 96):
        if _ahead(zone, day + 96) != before:
            change = next(quarter for quarter in range(day, day + 97) if _ahead(zone, quarter) != before)
            found.append((change, before))
            before = _ahead(zone, day + 96)
    return [*found, (last + 1, before)]


def _ahead(zone: tzinfo, quarter: int) -> int:
    return (beginning(quarter).astimezone(zone).utcoffset() or timedelta()) // timedelta(seconds=QUARTER_S)


def dearest(sums: Iterable[tuple[str, int]], top: int) -> list[str]:
    """The names with the most money; of a name that comes in pieces, all of them."""
    whole: dict[str, int] = {}
    for name, nano in sums:
        whole[name] = whole.get(name, 0) + nano
    return sorted(whole, key=lambda name: (-whole[name], name))[:top]
