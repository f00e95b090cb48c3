"""Habits: sessions, active days, streaks, and what a developer's day costs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.core.test_bundles import NOON, bundle

from crewcap.core.budget import KeyId
from crewcap.core.bundles import Bundle, at
from crewcap.core.habits import PUBLISHED, Streaks, Work, developer_days, habit, habits, streaks, works
from crewcap.core.money import Money

TODAY = date(2026, 11, 22)
A, B = KeyId("a"), KeyId("b")


def day_of(quarter: int) -> date:
    return at(quarter).date()


def use(quarters: int, *, key: KeyId = A, spent: str = "1", **fields: Any) -> Bundle:
    return bundle(quarter=NOON + quarters, key=key, spent=Money.usd(spent).nano, **fields)


@pytest.mark.parametrize(
    ("ago", "found"),
    [
        ([], Streaks()),
        ([0], Streaks(longest=1, current=1)),
        ([5, 4, 3, 1], Streaks(longest=3, current=1)),
        ([9, 8, 2], Streaks(longest=2, current=0)),
        ([2, 1], Streaks(longest=2, current=2)),
    ],
)
def test_a_streak_is_current_until_a_whole_day_was_missed(ago: list[int], found: Streaks) -> None:
    assert streaks([TODAY - timedelta(days=days) for days in ago], TODAY) == found


def test_half_an_hour_without_a_request_ends_a_session() -> None:
    """Of each run by itself; keys of one run are one."""
    asked = [(0, A, "m"), (2, A, "m"), (5, A, "m"), (5, B, "n"), (5, B, "n"), (6, KeyId("c"), "m")]
    of_all = works(asked, name_of=lambda *_: "x", run_of={A: "r1", B: "r1"})
    assert of_all == {"x": Work(runs=1, sessions=3)}
    of_models = works(asked, name_of=lambda _, model: model, run_of={A: "r1", B: "r1"})
    assert of_models == {"m": Work(runs=1, sessions=3), "n": Work(runs=1, sessions=1)}


def test_what_was_said_later_is_no_use_of_that_day() -> None:
    word = bundle(quarter=NOON + 96, requests=0, spent=Money.usd("0.5").nano, kind="reconciled")
    found = habit("x", [use(0), word], work=Work(), day_of=day_of, today=TODAY)
    assert (found.active_days, found.requests, found.cost) == (1, 1, Money.usd("1.5"))


def test_habits_come_dearest_first() -> None:
    found = habits(
        [use(0), use(0, key=B, spent="5")],
        name_of=lambda each: each.key,
        works={"b": Work(2, 3)},
        day_of=day_of,
        today=TODAY,
    )
    assert [(each.runs, each.sessions) for each in found] == [(2, 3), (0, 0)]
    assert [(each.name, each.cost) for each in found] == [("b", Money.usd(5)), ("a", Money.usd(1))]
    assert found[0].per_active_day == Money.usd(5)


def test_a_developers_day_is_all_that_they_spent_on_it() -> None:
    """Two keys of one user on one day are one day; the published bound is not below itself."""
    asked = [use(0, spent="12"), use(1, key=B, spent="18"), use(96, spent="3"), use(192, spent="0.000000001")]
    found = developer_days(asked, user_of=lambda _: "ana", day_of=day_of)
    assert (found.days, found.below_published, found.dearest) == (3, 2, Money.usd(30))
    assert found.percent_below == 66
    assert found.average == Money.usd(11)
    assert developer_days([], user_of=lambda _: "", day_of=day_of).percent_below is None


def test_the_published_figures_are_the_articles() -> None:
    assert (PUBLISHED.day, PUBLISHED.most_days, PUBLISHED.most_percent) == (Money.usd(13), Money.usd(30), 90)
    assert PUBLISHED.month == (Money.usd(150), Money.usd(250))


def test_a_day_is_the_zones() -> None:
    late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    assert at((late - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(minutes=15)) == late
