"""Whether the clock may be trusted with money, and what time it is while it may not.

A window of the calendar (today, this month) opens because a clock says so; a clock that jumps would open it early,
or again. So paid requests are refused, until an operator accepts the clock, when

    - the wall clock moved more than 10 minutes against the monotonic clock since the last look, or
    - at the first look the wall clock is more than 36 hours from the newest instant on record.

While in doubt, time goes on from the last trusted instant by the monotonic clock, so that settlements of requests
that are under way are booked at a sane time. Time in the books never falls: it is the later of the clock and the
newest entry. Give a monotonic clock that counts sleep where the machine has one (`CLOCK_BOOTTIME`), or a laptop
that wakes up is taken for a clock that jumped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LARGEST_JUMP = timedelta(minutes=10)
LARGEST_GAP = timedelta(hours=36)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """An aware instant as the books keep it."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """Inverse of `micros`."""
    return _EPOCH + timedelta(microseconds=at)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock says: a trusted instant, and why paid requests must wait, if they must."""

    at: datetime
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Trust:
    """The last instant that was trusted, when the monotonic clock showed `mono`."""

    wall: datetime
    mono: float
    accepts: int
    doubt: str = ""


class ClockWatch:
    """Compares one process's clocks at each look; threads may share it."""

    def __init__(self, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._trust: _Trust | None = None
        self._lock = threading.Lock()

    def look(self, *, recorded: datetime | None, accepts: int, doubted: str = "") -> Reading:
        """Read the clock.

        `recorded` is the newest instant on record, `accepts` how often somebody accepted the clock, and `doubted`
        why all processes doubt it, if they do.
        """
        with self._lock:
            wall, mono, before = self._clock(), self._monotonic(), self._trust
            if before is None:
                doubt = doubted or _gap(wall, recorded)
                trust = _Trust((doubt and recorded) or wall, mono, accepts, doubt)
            elif accepts > before.accepts:
                trust = _Trust(wall, mono, accepts)
            else:
                trust = _next_look(wall, mono, before)
            self._trust = trust
        return Reading(trust.wall, trust.doubt)

    def accept(self, accepts: int) -> None:
        """An operator's word that the wall clock is right, the `accepts`th of them."""
        with self._lock:
            self._trust = _Trust(self._clock(), self._monotonic(), accepts)


def _gap(wall: datetime, recorded: datetime | None) -> str:
    """Why the clock is not believed at the first look, if so."""
    if recorded is None or abs(wall - recorded) <= LARGEST_GAP:
        return ""
    return f"the clock shows {_shown(wall)}, more than 36 hours from the newest instant on record, {_shown(recorded)}"


def _next_look(wall: datetime, mono: float, before: _Trust) -> _Trust:
    """Trust goes on by the monotonic clock; the wall clock is followed while it stays near that."""
    expected = before.wall + timedelta(seconds=mono - before.mono)
    if before.doubt:
        return _Trust(expected, mono, before.accepts, before.doubt)
    if abs(wall - expected) <= LARGEST_JUMP:
        return _Trust(wall, mono, before.accepts)
    doubt = f"the clock jumped: it should show {_shown(expected)} and shows {_shown(wall)}"
    return _Trust(expected, mono, before.accepts, doubt)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
