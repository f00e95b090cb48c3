"""Habits: how often agents are used, by whom and on which days, and what a developer's active day costs.

A *session* is a stretch of work of one run or key: requests with less than half an hour between them (bundles tell time
by the quarter of an hour, so a pause of two whole quarters ends one). A day is *active* for somebody who had a request
closed in it. The published averages are Anthropic's own figures for Claude Code in companies, and are shown beside ours
as what they are: published, for interactive use, of other people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from crewcap.core.budget import KeyId
from crewcap.core.bundles import Bundle
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage

PAUSE = 2  # quarters of an hour without a request that end a session


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the vendor publishes of developers in companies."""

    day: Money  # of a developer's active day, on average
    most_days: Money  # below which the day of this share of developers stays
    most_percent: int
    month: tuple[Money, Money]  # of a developer


PUBLISHED = Published(
    day=Money.usd(13), most_days=Money.usd(30), most_percent=90, month=(Money.usd(150), Money.usd(250))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaks:
    """Days in a row."""

    longest: int = 0
    current: int = 0  # that ends today or yesterday; 0 where it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """One user's, one model's, or everybody's."""

    name: str
    runs: int = 0
    sessions: int = 0
    requests: int = 0
    active_days: int = 0
    streaks: Streaks = field(default_factory=Streaks)
    first: date | None = None
    last: date | None = None
    cost: Money = ZERO
    notional: Money = ZERO
    usage: Usage = field(default_factory=Usage)

    @property
    def per_active_day(self) -> Money:
        """Rounded to the nearest nano-dollar: an average is no sum of bills."""
        return Money((2 * self.cost.nano + self.active_days) // (2 * self.active_days)) if self.active_days else ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class DeveloperDays:
    """Every active day of every user, as one distribution."""

    days: int = 0
    cost: Money = ZERO
    average: Money = ZERO
    below_published: int = 0  # days that cost less than the published bound
    dearest: Money = ZERO

    @property
    def percent_below(self) -> int | None:
        """The share of days below the published bound; None without any day."""
        return self.below_published * 100 // self.days if self.days else None


Use = tuple[int, KeyId, str]
"""A quarter of an hour, a key that had something asked in it, and the model. As plain as can be: there are many."""


class Work(NamedTuple):
    """How much was begun."""

    runs: int = 0
    sessions: int = 0


def works(
    uses: Iterable[Use], *, name_of: Callable[[KeyId, str], str], run_of: Mapping[KeyId, str]
) -> Mapping[str, Work]:
    """Runs and sessions by name (of a key and a model), of uses in the order of time."""
    latest: dict[tuple[str, str], int] = {}
    sessions: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for quarter, key, model in uses:
        run = run_of.get(key)
        name = name_of(key, model)
        place = (name, run or key)
        before = latest.get(place)
        latest[place] = quarter
        if before is None:
            runs[name] += run is not None
        if before is None or quarter - before > PAUSE:
            sessions[name] += 1
    return {name: Work(runs[name], sessions[name]) for name in sessions}


def habits(
    bundles: Iterable[Bundle],
    *,
    name_of: Callable[[Bundle], str],
    works: Mapping[str, Work],
    day_of: Callable[[int], date],
    today: date,
) -> tuple[Habit, ...]:
    """One for each name, the dearest first."""
    groups: dict[str, list[Bundle]] = {}
    for bundle in bundles:
        groups.setdefault(name_of(bundle), []).append(bundle)
    made = [
        habit(name, mine, work=works.get(name, Work()), day_of=day_of, today=today) for name, mine in groups.items()
    ]
    return tuple(sorted(made, key=lambda each: (-each.cost.nano - each.notional.nano, each.name)))


def habit(name: str, bundles: Sequence[Bundle], *, work: Work, day_of: Callable[[int], date], today: date) -> Habit:
    """What somebody's bundles tell, which may be of whole days."""
    days = sorted({day_of(bundle.quarter) for bundle in bundles if bundle.requests})  # a later word is no use of a day
    return Habit(
        name=name,
        runs=work.runs,
        sessions=work.sessions,
        requests=sum(bundle.requests for bundle in bundles),
        active_days=len(days),
        streaks=streaks(days, today),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        cost=Money(sum(bundle.spent + bundle.uncertain for bundle in bundles)),
        notional=Money(sum(bundle.notional for bundle in bundles)),
        usage=Usage(
            input=sum(bundle.input for bundle in bundles),
            cache_read=sum(bundle.cache_read for bundle in bundles),
            write_5m=sum(bundle.write_5m for bundle in bundles),
            write_1h=sum(bundle.write_1h for bundle in bundles),
            output=sum(bundle.output for bundle in bundles),
            thinking=sum(bundle.thinking for bundle in bundles),
        ),
    )


def developer_days(
    bundles: Iterable[Bundle],
    *,
    user_of: Callable[[Bundle], str],
    day_of: Callable[[int], date],
    published: Published = PUBLISHED,
) -> DeveloperDays:
    """What each user's active days cost."""
    costs: dict[tuple[str, date], int] = {}
    active: set[tuple[str, date]] = set()
    for bundle in bundles:
        place = (user_of(bundle), day_of(bundle.quarter))
        costs[place] = costs.get(place, 0) + bundle.spent + bundle.uncertain
        if bundle.requests:
            active.add(place)
    whole = Money(sum(costs.values()))
    if not active:
        return DeveloperDays(cost=whole)
    return DeveloperDays(
        days=len(active),
        cost=whole,
        average=Money((2 * whole.nano + len(active)) // (2 * len(active))),
        below_published=sum(costs[place] < published.most_days.nano for place in active),
        dearest=Money(max(costs[place] for place in active)),
    )


def streaks(days: Sequence[date], today: date) -> Streaks:
    """Days in a row, of days that rise."""
    if not days:
        return Streaks()
    longest = run = 1
    for before, day in pairwise(days):
        run = run + 1 if day - before == timedelta(days=1) else 1
        longest = max(longest, run)
    return Streaks(longest=longest, current=run if today - days[-1] <= timedelta(days=1) else 0)
