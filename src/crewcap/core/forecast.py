"""What a month will cost: by the usual formula, and by drawing whole months out of what was seen.

The formula is runs a day x average cost x 30 (or runs a week x average x 4.3). It gives one number and cannot say how
sure it is. The draws can: how many jobs a day brings is uncertain, and so is which costs there are to draw from, so
each draw first takes a rate for weekdays and one for weekends (Gamma, from the days that were seen), and a pool of
costs (as many as were seen, with repetition), and then fills the rest of the month: a Poisson number of jobs each
day, each with a cost out of that pool. Leaving out either of the first two makes the band too narrow (measured in
`benchmarks/forecast.py`). What is spent already and what is held are added to every draw.

It cannot see a coming change of volume: that is what `Volume` is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Protocol

from crewcap.core.history import Job
from crewcap.core.money import ZERO, Money

DAYS_A_MONTH = Fraction(30)
WEEKS_A_MONTH = Fraction(43, 10)
DRAWS = 2_000
LOW, HIGH = 10, 90  # per cent of the draws below the band, and below its upper end
_SATURDAY = 5
_PRIOR = 0.5  # jobs that a day without any still lets us expect (Jeffreys)
_AT_ONCE = 30.0  # e**-rate must stay well above the smallest float


class Chance(Protocol):
    """Where randomness comes from; `random.Random` is one."""

    def random(self) -> float: ...  # noqa: D102  (as the library's)
    def gammavariate(self, alpha: float, beta: float) -> float: ...  # noqa: D102
    def choices(self, population: Sequence[int], *, k: int) -> list[int]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """How much is done: so many jobs a day, or a week."""

    jobs: Fraction
    weekly: bool = False

    @property
    def per_month(self) -> Fraction:
        """The month that the formula means."""
        return self.jobs * (WEEKS_A_MONTH if self.weekly else DAYS_A_MONTH)


def formula(volume: Volume, average: Money) -> Money:
    """The article's: jobs a day x average cost x 30, or jobs a week x average cost x 4.3; to the nearest unit."""
    return Money(round(volume.per_month * average.nano))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """A month drawn many times, from a day on: what each draw had come to by the end of each day."""

    days: tuple[date, ...]  # the first is the day of the forecast
    draws: tuple[tuple[int, ...], ...] = field(repr=False)  # nano-dollars, a row a draw, a column a day

    def at(self, percent: int, day: int = -1) -> Money:
        """What so many of a hundred draws do not exceed, by the end of a day."""
        values = sorted(row[day] for row in self.draws)
        return Money(values[max(0, -(-percent * len(values) // 100) - 1)])

    def over(self, limit: Money) -> Fraction:
        """The share of draws that end above a limit."""
        return Fraction(sum(row[-1] > limit.nano for row in self.draws), len(self.draws))

    def crossing(self, limit: Money) -> date | None:
        """The day by which half of all draws are above it; None where fewer than half ever are."""
        for place, day in enumerate(self.days):
            if 2 * sum(row[place] > limit.nano for row in self.draws) >= len(self.draws):
                return day
        return None

    def band(self) -> tuple[tuple[date, Money, Money, Money], ...]:
        """Day by day: the band's lower end, its middle, its upper end."""
        return tuple((day, self.at(LOW, n), self.at(50, n), self.at(HIGH, n)) for n, day in enumerate(self.days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often jobs began on days of one kind."""

    days: float  # today counts as far as it is over
    jobs: int

    def rate(self, chance: Chance) -> float:
        """Jobs a day, as uncertain as so few days leave it."""
        return chance.gammavariate(self.jobs + _PRIOR, 1 / max(1, self.days))


def paces(past: Iterable[Job], *, since: date, now: datetime) -> tuple[Pace, Pace]:
    """The paces of weekdays and of weekends, from `since` until now; in the zone of `now`.

    Where no day of a kind was seen, all days stand for it.
    """
    today, zone = now.date(), now.tzinfo
    length = {since + timedelta(days=n): 1.0 for n in range((today - since).days)} | {today: _part_over(now)}
    began = [job.at.astimezone(zone).date() for job in past]
    found = [
        Pace(
            days=sum(part for day, part in length.items() if _is_weekend(day) is wanted),
            jobs=sum(day in length and _is_weekend(day) is wanted for day in began),
        )
        for wanted in (False, True)
    ]
    every = Pace(days=sum(length.values()), jobs=sum(day in length for day in began))
    weekdays, weekends = (pace if pace.days else every for pace in found)
    return weekdays, weekends


def draw_month(
    past: Sequence[Job],
    *,
    now: datetime,
    until: date,
    zone: tzinfo,
    base: Money = ZERO,
    cap: Money | None = None,
    chance: Chance,
    draws: int = DRAWS,
) -> Fan:
    """Draw the rest of a month, from now to the end of `until`, out of what was seen.

    `base` is what the month has cost so far, with what is held. `cap` is what no coming job can exceed.
    """
    here = now.astimezone(zone)
    today = here.date()
    days = tuple(today + timedelta(days=n) for n in range((until - today).days + 1))
    since = min((job.at.astimezone(zone).date() for job in past), default=today)
    pace = paces(past, since=since, now=here)
    left_today = 1 - _part_over(here)
    costs = [job.cost.nano if cap is None else min(job.cost.nano, cap.nano) for job in past]
    return Fan(
        days=days,
        draws=tuple(_draw(days, left_today, pace, costs, base, chance) for _ in range(draws)),
    )


def _draw(
    days: Sequence[date], left_today: float, pace: tuple[Pace, Pace], costs: Sequence[int], base: Money, chance: Chance
) -> tuple[int, ...]:
    """One month: what it had come to by the end of each day."""
    rates = [each.rate(chance) for each in pace]
    pool = chance.choices(costs, k=len(costs)) if costs else []
    so_far, row = base.nano, []
    for place, day in enumerate(days):
        part = left_today if place == 0 else 1.0
        count = poisson(rates[_is_weekend(day)] * part, chance) if pool else 0
        so_far += sum(chance.choices(pool, k=count)) if count else 0
        row.append(so_far)
    return tuple(row)


def poisson(rate: float, chance: Chance) -> int:
    """How many come where so many come on average (Knuth's multiplication, in parts that a float can hold)."""
    count = 0
    while rate > 0:
        part = min(rate, _AT_ONCE)
        rate -= part
        floor, product = math.exp(-part), chance.random()
        while product > floor:
            count += 1
            product *= chance.random()
    return count


def _is_weekend(day: date) -> bool:
    return day.weekday() >= _SATURDAY


def _part_over(now: datetime) -> float:
    """How much of a day is over."""
    return (now.hour * 3_600 + now.minute * 60 + now.second) / 86_400
