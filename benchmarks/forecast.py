"""How well a month's end is forecast, on simulated months whose end is known.

    python -m benchmarks.forecast [--months N] [--results DIR]

A month has runs on weekdays (Poisson, so many on average), a fifth of that at weekends, lognormal costs around $2, and
one run in a hundred that would cost ten to thirty times as much; none costs more than its cap of $15. On its 5th, 10th
and 20th day each method is told what happened so far in the month and says what the month will come to:

    drawn       crewcap's: 80 of 100 draws lie in its band, and its middle draw is its one number
    formula     the article's: runs a day x average cost x 30; it has no band
    run rate    what a day has cost so far x the days of the month, with a band of 1.28 standard errors of a day's cost
    days        a bootstrap over whole days, as is usual: its band is between the outer tenths of its draws

"covered" is how often the band held the truth: 80 % would be honest. "off by" is the mean of |said - truth| / truth.
"""

from __future__ import annotations

import argparse
import calendar
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from benchmarks.report import FOLDER, Report, Table

from crewcap import __version__
from crewcap.core.forecast import Volume, draw_month, formula, poisson
from crewcap.core.history import Job, mean
from crewcap.core.money import Money, total

CELLS = ((5, 6), (10, 6), (20, 6), (10, 40))  # told on this day of the month, runs on a weekday
DRAWS = 400
CAP = Money.usd(15)
FIRST = date(2026, 1, 1)
_WEEKEND, _RUNAWAY, _SPREAD, _MIDDLE = 0.2, 0.01, 0.9, 0.69  # a fifth, 1 %, sigma and mu of the logarithms


@dataclass(frozen=True, slots=True)
class Said:
    """One forecast: a number, and a band where the method has one."""

    middle: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a method knows."""

    past: Sequence[Job]
    now: datetime
    last: date
    seed: int

    @property
    def spent(self) -> Money:
        """The month so far."""
        return total(job.cost for job in self.past)

    @property
    def days(self) -> int:
        """Whole days that are over."""
        return (self.now.date() - self.last.replace(day=1)).days

    def daily(self) -> list[float]:
        """What each of them cost, in dollars."""
        first = self.last.replace(day=1)
        sums = [0] * self.days
        for job in self.past:
            sums[(job.at.date() - first).days] += job.cost.nano
        return [nano / 1e9 for nano in sums]


def month(seed: int, weekday_runs: int) -> tuple[list[Job], date]:
    """A whole month of jobs, and its last day."""
    chance = random.Random(seed)
    first = FIRST.replace(month=1 + seed % 12)
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    jobs = []
    for day in (first + timedelta(days=n) for n in range(last.day)):
        rate = weekday_runs * (_WEEKEND if day.weekday() >= 5 else 1.0)
        jobs += [_job(day, chance) for _ in range(poisson(rate, chance))]
    return jobs, last


def _job(day: date, chance: random.Random) -> Job:
    dollars = chance.lognormvariate(_MIDDLE, _SPREAD) * (chance.uniform(10, 30) if chance.random() < _RUNAWAY else 1)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=chance.randrange(86_400))
    return Job(
        name="run",
        workflow="run",
        model="m",
        repo="r",
        at=at,
        cost=min(CAP, Money(int(dollars * 1e9))),
        requests=1,
        is_run=True,
        is_over=True,
        is_good=True,
    )


def drawn(told: Told) -> Said:
    """Ours."""
    chance = random.Random(told.seed)
    fan = draw_month(told.past, now=told.now, until=told.last, zone=UTC, base=told.spent, chance=chance, draws=DRAWS)
    return Said(*(fan.at(percent).nano / 1e9 for percent in (50, 10, 90)))


def by_formula(told: Told) -> Said:
    """The article's."""
    volume = Volume(jobs=Fraction(len(told.past), told.days))
    return Said(formula(volume, mean([job.cost for job in told.past])).nano / 1e9)


def run_rate(told: Told) -> Said:
    """So far, by the day, for all days."""
    daily = told.daily()
    left = told.last.day - told.days
    middle = sum(daily) + statistics.mean(daily) * left
    error = 1.28 * statistics.stdev(daily) * left**0.5 * (1 + left / told.days) ** 0.5
    return Said(middle, middle - error, middle + error)


def by_days(told: Told) -> Said:
    """Whole days, drawn again."""
    chance = random.Random(told.seed)
    daily = told.daily()
    ends = sorted(sum(daily) + sum(chance.choices(daily, k=told.last.day - told.days)) for _ in range(DRAWS))
    return Said(ends[DRAWS // 2], ends[DRAWS // 10 - 1], ends[DRAWS * 9 // 10 - 1])


METHODS: dict[str, Callable[[Told], Said]] = {
    "drawn": drawn,
    "formula": by_formula,
    "run rate": run_rate,
    "days": by_days,
}


def main() -> None:
    """Every cell of every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=300)
    parser.add_argument("--results", type=Path, default=FOLDER)
    asked = parser.parse_args()
    report = Report(name="forecast", versions={"crewcap": __version__})
    report.add(
        Table(
            title="A month's end",
            note=f"{asked.months} simulated months a row, seeds from 0.",
            head=("told on day", "runs a weekday", "method", "covered by its 80 % band", "off by"),
            rows=[row for cell in CELLS for row in _rows(cell, asked.months)],
        )
    )
    report.write(asked.results)


def _rows(cell: tuple[int, int], months: int) -> Iterator[tuple[str, ...]]:
    day, runs = cell
    found: dict[str, list[tuple[Said, float]]] = {name: [] for name in METHODS}
    for seed in range(months):
        jobs, last = month(seed, runs)
        truth = sum(job.cost.nano for job in jobs) / 1e9
        now = datetime(last.year, last.month, day, tzinfo=UTC) + timedelta(days=1)
        past = [job for job in jobs if job.at < now]
        if len(past) < 2:
            continue
        told = Told(past, now, last, seed)
        for name, method in METHODS.items():
            found[name].append((method(told), truth))
    for name, each in found.items():
        covered = [
            said.low <= truth <= said.high for said, truth in each if said.low is not None and said.high is not None
        ]
        share = f"{100 * sum(covered) / len(covered):.0f} %" if covered else "has none"
        off = statistics.mean(abs(said.middle - truth) / truth for said, truth in each)
        yield str(day), str(runs), name, share, f"{100 * off:.1f} %"


if __name__ == "__main__":
    main()
