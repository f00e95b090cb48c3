"""The database's clock, watched by this process's monotonic clock.

The rules are those of `clock`, kept by `crewcap.look` in the database: one clock for all gateways, so that no machine
whose own clock is wrong can open a window. What cannot be kept there is how much time has truly passed since the last
look: this process's monotonic clock tells the database what it should show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crewcap.stores.calendar import Calendar
from crewcap.stores.clock import instant, micros
from crewcap.stores.marker import Marker


@dataclass(frozen=True, slots=True)
class _Trust:
    """The last instant that was trusted, when the monotonic clock showed `mono`."""

    wall: int
    mono: float
    accepts: int
    doubt: str


class DatabaseClock:
    """What to ask the database's clock, and what it answered last; threads may share it."""

    def __init__(
        self, fixed: Callable[[], datetime] | None, monotonic: Callable[[], float], *, seen: Marker | None
    ) -> None:
        """`fixed` stands for the database's own clock where a test moves time; `seen` is what the marker says."""
        self._fixed = fixed
        self._monotonic = monotonic
        self._calendar = Calendar()
        self._trust: _Trust | None = None
        self._lock = threading.Lock()
        self._seen = (0, 0) if seen is None else (seen.movement, micros(seen.at))
        self._asks_about: dict[str, str | int] = {}

    def ask(self) -> tuple[float, dict[str, Any]]:
        """When we ask, and what the database is told: the time that it should be, and the windows of today."""
        with self._lock:
            mono, trust = self._monotonic(), self._trust
            fixed = None if self._fixed is None else micros(self._fixed())
        expected = None if trust is None else trust.wall + round((mono - trust.mono) * 1_000_000)
        return mono, {
            "fixed": fixed,
            "expected": expected,
            "accepts": 0 if trust is None else trust.accepts,
            "doubt": "" if trust is None else trust.doubt,
            "seen": self._seen[0],
            "seen_at": self._seen[1],
            **self._asks_about,
        }

    def told(self, asked_at: float, now: Mapping[str, Any]) -> None:
        """What it said to a question asked then; the calendar follows."""
        found = _Trust(now["wall"], asked_at, now["accepts"], now["doubt"])
        with self._lock:
            before = self._trust
            if before is None or (asked_at >= before.mono and found.accepts >= before.accepts):
                self._trust = found
        self._asks_about = self._windows(now["zone"], now["at"])

    def accept(self, wall: int, accepts: int) -> None:
        """An operator's word that the clock is right."""
        with self._lock:
            self._trust = _Trust(wall, self._monotonic(), accepts, "")

    @property
    def trusted(self) -> datetime:
        """The newest instant that was trusted."""
        if self._trust is None:
            raise RuntimeError("nobody has looked at the clock yet")
        return instant(self._trust.wall)

    def _windows(self, zone: str, at: int) -> dict[str, str | int]:
        spans = self._calendar.spans(zone, at)
        found: dict[str, str | int] = {"zone": zone}
        for window in ("day", "week", "month"):
            span = spans[window]
            found |= {window: span.label, f"{window}_from": span.starts_at, f"{window}_to": span.ends_at}
        return found
