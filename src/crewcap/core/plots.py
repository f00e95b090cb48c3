"""What plots show, as values: spend by day and model, a month so far, a run's cost by turn beside earlier runs.

Amounts are money; how they look is decided by whoever draws them, in a terminal or on a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from crewcap.core.money import ZERO, Money

_FEWEST_RUNS = 5  # before a band of earlier runs says anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A bar of several parts: a day and its models."""

    label: str
    parts: tuple[Money, ...]  # as many as the plot has series, in their order

    @property
    def whole(self) -> Money:
        """The bar's height."""
        return Money(sum(part.nano for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of the same series."""

    series: tuple[str, ...]  # the dearest first
    bars: tuple[Stack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """Where a month may end: for each day from tomorrow on, what will have been spent by its end."""

    days: tuple[date, ...]
    low: tuple[Money, ...]  # p10
    middle: tuple[Money, ...]  # p50
    high: tuple[Money, ...]  # p90

    @classmethod
    def of(cls, band: Iterable[tuple[date, Money, Money, Money]]) -> Fan:
        """From a forecast's band: day by day its lower end, its middle, its upper end."""
        days, low, middle, high = zip(*band, strict=True)
        return cls(days=days, low=low, middle=middle, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month so far, what is allowed in it, and where it may end."""

    label: str
    days: tuple[date, ...]  # of the whole month
    spent: tuple[Money, ...]  # by the end of each day that has begun
    limit: Money | None = None
    fan: Fan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A run's cost after each of its turns, beside the band of earlier runs of the same workflow."""

    label: str
    costs: tuple[Money, ...]
    low: tuple[Money, ...] = ()  # p10 of earlier runs after each turn
    middle: tuple[Money, ...] = ()
    high: tuple[Money, ...] = ()  # p90
    runs: int = 0  # that the band is made of
    cap: Money | None = None

    @property
    def shows_cap(self) -> bool:
        """Whether the cap belongs into the picture: far above everything it would press the rest flat."""
        highest = max((amount.nano for amount in (*self.costs, *self.high)), default=0)
        return self.cap is not None and 2 * self.cap.nano <= 3 * highest


def running(amounts: Sequence[Money]) -> tuple[Money, ...]:
    """Sums so far."""
    sums, so_far = [], 0
    for amount in amounts:
        so_far += amount.nano
        sums.append(Money(so_far))
    return tuple(sums)


def course(
    label: str, costs: Sequence[Money], earlier: Sequence[Sequence[Money]], *, cap: Money | None = None
) -> Course:
    """A run over the band of those before it. A run that has ended stays where it ended; too few make no band."""
    mine, others = running(costs), [running(each) for each in earlier if each]
    if len(others) < _FEWEST_RUNS:
        return Course(label=label, costs=mine, cap=cap, runs=len(others))
    turns = max(len(mine), *(len(each) for each in others))
    after = [sorted(each[min(turn, len(each) - 1)] for each in others) for turn in range(turns)]
    return Course(
        label=label,
        costs=mine,
        low=tuple(quantile(each, 10) for each in after),
        middle=tuple(quantile(each, 50) for each in after),
        high=tuple(quantile(each, 90) for each in after),
        runs=len(others),
        cap=cap,
    )


def quantile(ordered: Sequence[Money], percent: int) -> Money:
    """The smallest of these that so many per cent are not above."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else ZERO


def shortened(bars: Bars, most: int) -> Bars:
    """With at most so many series; the cheapest are one, called `others`."""
    if len(bars.series) <= most:
        return bars
    kept = most - 1

    def parts(stack: Stack) -> tuple[Money, ...]:
        return (*stack.parts[:kept], Money(sum(part.nano for part in stack.parts[kept:])))

    stacks = tuple(Stack(label=stack.label, parts=parts(stack)) for stack in bars.bars)
    return Bars(series=(*bars.series[:kept], "others"), bars=stacks)
