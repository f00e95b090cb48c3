"""What earlier runs of a workflow say of one that works: how fast money went at most, and where a turn's cost leads.

Both need at least `ENOUGH` runs; before, they say nothing. A run that its cap ended would have cost more, so what is
learnt from it is too low and never too high.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crewcap.core.money import Money

ENOUGH = 10  # runs before anything is learnt from them
WINDOW_S = 300.0
_QUARTER = 25  # per cent: three of four runs went further


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """One run that is over."""

    costs: tuple[int, ...]  # nano-dollars after each of its requests, all so far
    peak: int  # the most that any five minutes of it cost


def past_run(spent: Sequence[tuple[float, int]]) -> PastRun:
    """A run by its requests: when each ended (seconds), and what it cost (nano-dollars)."""
    so_far, costs = 0, []
    for _, nano in spent:
        so_far += nano
        costs.append(so_far)
    return PastRun(costs=tuple(costs), peak=_peak(spent))


@dataclass(frozen=True, slots=True)
class Past:
    """Runs to compare with."""

    runs: tuple[PastRun, ...] = ()

    @property
    def usual_peak(self) -> Money | None:
        """The p99 of what five minutes of a run cost at most; None where too few runs are known."""
        if len(self.runs) < ENOUGH:
            return None
        return Money(_ranked([run.peak for run in self.runs], 99))

    def leads_to(self, turn: int, so_far: Money) -> tuple[Money, int] | None:
        """What a run that has cost this at this turn ends at, by three of four of those that came so far; and how many.

        None where too few came so far, or were free until then.
        """
        reached = [run.costs for run in self.runs if len(run.costs) >= turn > 0 and run.costs[turn - 1] > 0]
        if len(reached) < ENOUGH:
            return None
        ends = [so_far.nano * costs[-1] // costs[turn - 1] for costs in reached]
        return Money(_ranked(ends, _QUARTER)), len(reached)


def _peak(spent: Iterable[tuple[float, int]]) -> int:
    """The largest sum of any five minutes."""
    within: deque[tuple[float, int]] = deque()
    total = peak = 0
    for at, nano in sorted(spent):
        within.append((at, nano))
        total += nano
        while within[0][0] <= at - WINDOW_S:
            total -= within.popleft()[1]
        peak = max(peak, total)
    return peak


def _ranked(values: Sequence[int], percent: int) -> int:
    """The smallest value that so many of a hundred do not exceed."""
    return sorted(values)[max(1, -(-percent * len(values) // 100)) - 1]
