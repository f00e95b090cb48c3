"""When a cron line is due, in a zone: the library's reckoning, bounded, in UTC.

What its clock means where clocks change is Debian cron's rule, as the library (cronsim) has it:

    a fixed time              `30 2 * * *` comes once a day: one that is left out comes right after the gap (03:00),
                              one that comes twice comes the first time
    every so often            `*/30 * * * *`, a star first in minute or hour, goes by time that passes: nothing comes in
                              a gap, and an hour that comes twice has its ticks twice
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Self
from zoneinfo import ZoneInfo

from cronsim import CronSim

from crewcap.core.schedules import five_fields
from crewcap.settings.crons import read_cron
from crewcap.settings.values import read_zone

MOST = 1_000  # ticks of one look
_SHIFT = timedelta(hours=3)  # more than any zone moves its clocks by


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line and the zone whose wall clock it means."""

    text: str
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, zone: str) -> Self:
        """Five fields or `@daily` and the like; `settings.values.Wrong`, a `ValueError`, says what is wrong."""
        return cls(read_cron(text), ZoneInfo(read_zone(zone)))

    def next(self, after: datetime) -> datetime:
        """The first tick after an instant."""
        ticks = self._ticks(after - _SHIFT)
        return next(tick for tick in ticks if tick > after)

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """Ticks after an instant and up to another, oldest first; of very many the newest thousand.

        It goes back from the end, so a year of silence costs no more than a day. A wall clock that comes twice hides
        which time is meant, so the look begins later than asked.
        """
        if until <= after:
            return []
        ticks = (tick for tick in self._ticks(until + _SHIFT, back=True) if tick <= until)
        return sorted(set(islice(takewhile(lambda tick: tick > after, ticks), MOST)))

    def _ticks(self, start: datetime, *, back: bool = False) -> Iterator[datetime]:
        local = start.astimezone(UTC if self.zone.key == "UTC" else self.zone)
        return (tick.astimezone(UTC) for tick in CronSim(five_fields(self.text), local, reverse=back))
