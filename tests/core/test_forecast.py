"""A month ahead: the usual formula, and months drawn out of what was seen."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from tests.core.past import START, job

from crewcap.core.forecast import Pace, Volume, draw_month, formula, paces, poisson
from crewcap.core.money import ZERO, Money

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)  # a Monday, two weeks later
LAST = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("jobs", "weekly", "average", "month"),
    [("5", False, "2", "300"), ("1", False, "5", "150"), ("10", True, "4", "172"), ("1/3", False, "0.99", "9.90")],
)
def test_the_formula_is_the_articles(jobs: str, weekly: bool, average: str, month: str) -> None:  # noqa: FBT001
    volume = Volume(jobs=Fraction(jobs), weekly=weekly)
    assert formula(volume, Money.usd(average)) == Money.usd(month)


def test_days_of_rest_have_a_pace_of_their_own() -> None:
    past = [job(1, day=day) for day in range(14) if day % 7 < 5 for _ in range(3)]
    assert paces(past, since=START.date(), now=NOW) == (Pace(days=10.5, jobs=30), Pace(days=4, jobs=0))


def test_where_no_weekend_was_seen_all_days_stand_for_it() -> None:
    past = [job(1, day=day) for day in range(4)]
    assert paces(past, since=START.date(), now=datetime(2026, 11, 6, tzinfo=UTC)) == (Pace(days=4, jobs=4),) * 2


def test_a_first_day_counts_as_far_as_it_is_over() -> None:
    past = [job(1) for _ in range(6)]
    assert paces(past, since=START.date(), now=START.replace(hour=18))[0] == Pace(days=0.75, jobs=6)


def test_a_month_is_drawn_between_what_is_spent_and_what_it_may_come_to() -> None:
    past = [job(2, day=day) for day in range(14) for _ in range(5)]
    fan = draw_month(past, now=NOW, until=LAST, zone=UTC, base=Money.usd(150), chance=random.Random(7), draws=400)
    assert fan.days == tuple(date(2026, 11, 16) + timedelta(days=n) for n in range(15))
    assert Money.usd(150) < fan.at(10) < fan.at(50) < fan.at(90)
    assert abs(fan.at(50).nano - Money.usd(150 + 145).nano) < Money.usd(30).nano  # half a day, fourteen more, $10 each


def test_spending_never_falls_within_a_draw_and_is_whole_jobs() -> None:
    past = [job(2, day=day) for day in range(14)]
    fan = draw_month(past, now=NOW, until=LAST, zone=UTC, base=Money.usd(7), chance=random.Random(7), draws=50)
    for row in fan.draws:
        assert list(row) == sorted(row)
        assert all((value - Money.usd(7).nano) % Money.usd(2).nano == 0 for value in row)


def test_the_chance_to_exceed_a_budget_and_the_day_on_which_it_would_be() -> None:
    past = [job(10, day=day) for day in range(14)]
    fan = draw_month(past, now=NOW, until=LAST, zone=UTC, base=Money.usd(140), chance=random.Random(7), draws=400)
    assert fan.over(Money.usd(100_000)) == 0
    assert fan.crossing(Money.usd(100_000)) is None
    assert fan.over(Money.usd(100)) == 1
    assert fan.crossing(Money.usd(100)) == NOW.date()
    crosses = fan.crossing(Money.usd(200))
    assert crosses is not None
    assert date(2026, 11, 19) <= crosses <= date(2026, 11, 27)


def test_no_coming_job_costs_more_than_the_cap() -> None:
    past = [job(50, day=day) for day in range(14)]
    fan = draw_month(
        past, now=NOW, until=LAST, zone=UTC, base=ZERO, cap=Money.usd(1), chance=random.Random(7), draws=50
    )
    assert max(row[-1] for row in fan.draws) < Money.usd(50).nano


def test_without_a_past_the_month_stays_where_it_is() -> None:
    fan = draw_month([], now=NOW, until=LAST, zone=UTC, base=Money.usd(3), chance=random.Random(7), draws=10)
    assert (fan.at(10), fan.at(90)) == (Money.usd(3), Money.usd(3))


@pytest.mark.parametrize("rate", [0.0, 0.3, 4.0, 75.0])
def test_as_many_come_as_should_on_average(rate: float) -> None:
    chance = random.Random(11)
    drawn = [poisson(rate, chance) for _ in range(2_000)]
    mean = sum(drawn) / len(drawn)
    assert abs(mean - rate) <= 5 * (rate / len(drawn)) ** 0.5
