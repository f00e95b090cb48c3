"""A wall clock and a monotonic clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Clocks:
    """Time passes on both; only the wall clock can jump."""

    def __init__(self, start: datetime = START) -> None:
        self.wall = start
        self.mono = 1_000.0

    def clock(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def pass_time(self, delta: timedelta) -> None:
        self.wall += delta
        self.mono += delta.total_seconds()

    def jump(self, delta: timedelta) -> None:
        self.wall += delta
