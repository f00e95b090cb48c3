"""Hours of the day, such as `20:00-07:00`: when runs may start, and when nobody wants a message.

They go by the wall clock of a zone, and the end is not part of them. Where clocks change, the wall clock still counts:
an hour that comes twice is open twice, an hour that is left out opens when the clock has passed it, and hours that are
left out altogether do not come that day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_WRITTEN = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d\Z", re.ASCII)
_DAYS = 5  # a day may lack these hours, and an island may skip a day
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """From one wall-clock time to another; over midnight where the second is the earlier one."""

    begins: time
    ends: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read `20:00-07:00`; `ValueError` says what is wrong with anything else."""
        if not _WRITTEN.match(text):
            raise ValueError("is not a span of the day")
        begins, ends = (time.fromisoformat(part) for part in text.split("-"))
        if begins == ends:
            raise ValueError("begins and ends at the same minute")
        return cls(begins, ends)

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"

    def is_open(self, at: datetime, zone: tzinfo) -> bool:
        """Whether an instant lies in these hours."""
        clock = at.astimezone(zone).time()
        if self.begins < self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends

    def opens_at(self, at: datetime, zone: tzinfo) -> datetime:
        """The first instant from `at` on that lies in these hours, in UTC; `at` itself where it does."""
        if self.is_open(at, zone):
            return at.astimezone(UTC)
        today = at.astimezone(zone).date()
        moments = (moment for n in range(_DAYS) for moment in self._moments(today + timedelta(days=n), zone))
        return next(moment for moment in moments if moment > at and self.is_open(moment, zone))

    def _moments(self, day: date, zone: tzinfo) -> list[datetime]:
        """When they may begin on a day, in order: at their time, both times where it comes twice; as clocks change."""
        wall = datetime.combine(day, self.begins, zone)
        twice = (wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC))
        return sorted({*twice, *_change(day, zone)})


def _change(day: date, zone: tzinfo) -> Iterator[datetime]:
    """The instant of a day at which its zone's clocks change, if they do."""
    early, late = (datetime.combine(day + timedelta(days=n), time(), zone).astimezone(UTC) for n in (0, 1))
    before = early.astimezone(zone).utcoffset()
    if late.astimezone(zone).utcoffset() == before:
        return
    while late - early > _SECOND:
        middle = early + (late - early) // (2 * _SECOND) * _SECOND
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    yield late
