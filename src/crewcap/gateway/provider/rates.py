"""Bounds on what is free: count calls of one key, and the same failing request again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_FAILURES = 6  # of one body; agents give up by themselves after eleven, three minutes later
FORGET_S = 600
REMEMBERED = 1_024


@dataclass(slots=True)
class PerMinute:
    """A bucket for each name that fills up evenly."""

    limit: int
    monotonic: Callable[[], float]
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, name: str) -> float:
        """Take one; 0.0, or the seconds until there is one again."""
        now = self.monotonic()
        left, then = self._left.get(name, (float(self.limit), now))
        left = min(float(self.limit), left + (now - then) * self.limit / 60)
        if left < 1:
            return (1 - left) * 60 / self.limit
        self._left[name] = (left - 1, now)
        return 0.0


@dataclass(slots=True)
class Failures:
    """How often a provider failed the very same request lately."""

    monotonic: Callable[[], float]
    _seen: OrderedDict[bytes, tuple[int, float]] = field(default_factory=OrderedDict)

    def add(self, digest: bytes) -> bool:
        """Count one more; whether it is time to stop asking."""
        now = self.monotonic()
        times, then = self._seen.pop(digest, (0, now))
        times = times + 1 if now - then < FORGET_S else 1
        self._seen[digest] = (times, now)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return times >= MOST_FAILURES
