"""One model as a source lists it: how its name is written, and when its prices change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A model, without its prices."""

    provider: str
    id: str
    spellings: tuple[str, ...]
    context_window: int | None = None
    changes: tuple[datetime, ...] = ()  # rising; each is the first moment of another price
    daily: tuple[time, ...] = ()  # times of day (UTC) at which the price changes every day

    def epoch(self, at: datetime) -> tuple[int, int]:
        """Moments of the same epoch have the same prices."""
        moment = at.astimezone(UTC)
        return bisect_right(self.changes, moment), bisect_right(self.daily, moment.time())

    def epochs(self) -> Iterator[datetime]:
        """One moment of every epoch that there is."""
        for change in (_BEFORE, *self.changes):
            yield change
            yield from (datetime.combine(change.date(), turn, UTC) for turn in self.daily)

    def moments(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """One moment of each epoch that begins or goes on between two moments, both included."""
        yield start
        yield from (change for change in self.changes if start < change <= end)
        day = start.astimezone(UTC).date() if self.daily else end.astimezone(UTC).date()
        while self.daily and day <= end.astimezone(UTC).date():
            turns = (datetime.combine(day, turn, UTC) for turn in self.daily)
            yield from (turn for turn in turns if start < turn <= end)
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Silence:
    """What a source does not tell of a model, and why; text as `UnknownPrice` takes it."""

    model: str
    what: str
    is_dated: bool = False  # it may tell on another day

    def words(self, at: datetime) -> str:
        """What is not told, for somebody who asked about this moment."""
        return f"{self.what} on {at:%Y-%m-%d}" if self.is_dated else self.what
