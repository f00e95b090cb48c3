"""Money a minute, of late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from crewcap.core.money import ZERO, Money

_LOOKS_BACK_S = 300.0
_BETWEEN_S = 5.0  # samples


@dataclass(slots=True)
class Pace:
    """Money a minute over the last few minutes; while it is younger than that, since its beginning."""

    samples: deque[tuple[float, int]]

    @classmethod
    def since(cls, at_s: float, cost: Money = ZERO) -> Pace:
        """From then on, when so much had been spent."""
        return cls(deque([(at_s, cost.nano)]))

    def note(self, at_s: float, cost: Money) -> Money:
        """A cost that was seen; the pace by now."""
        while len(self.samples) > 1 and self.samples[1][0] <= at_s - _LOOKS_BACK_S:
            self.samples.popleft()
        first_s, before = self.samples[0]
        if at_s - self.samples[-1][0] >= _BETWEEN_S:
            self.samples.append((at_s, cost.nano))
        return Money(max(0, cost.nano - before) * 60 // max(1, round(at_s - first_s)))
