"""What open runs may still cost together: never below what can happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.budget import ALL, Balance, Scope, Window
from crewcap.core.exposure import Exposed, worst_case
from crewcap.core.money import ZERO, Money

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def run(left: str, *scopes: str, hours: int = 1) -> Exposed:
    named = tuple(Scope(scope) for scope in (*scopes, ALL))
    return Exposed(left=Money.usd(left), scopes=named, until=NOON + timedelta(hours=hours))


def budget(scope: str, limit: str, *, spent: str = "0", held: str = "0", window: Window = "day") -> Balance:
    return Balance(
        scope=Scope(scope),
        window=window,
        label="",
        limit=Money.usd(limit),
        spent=Money.usd(spent),
        uncertain=ZERO,
        held=Money.usd(held),
        resets_at=None if window == "total" else MIDNIGHT,
    )


def test_without_budgets_every_run_may_use_up_its_cap() -> None:
    assert worst_case([run("3"), run("2.50")], []) == Money.usd("5.50")
    assert worst_case([], [budget("all", "25")]) == ZERO


def test_what_all_have_left_together_bounds_them() -> None:
    """Held money is what the runs' own requests may cost: it is still to be spent, and counts as left."""
    assert worst_case([run("3"), run("3")], [budget("all", "25", spent="21", held="2")]) == Money.usd("4")


def test_a_budget_bounds_the_runs_that_are_in_it_and_no_others() -> None:
    shop, site = run("3", "repo:shop"), run("3", "repo:site")
    assert worst_case([shop, shop, site], [budget("repo:shop", "4")]) == Money.usd("7")
    assert worst_case([shop, site], [budget("repo:other", "0")]) == Money.usd("6")


def test_the_tightest_window_and_the_tightest_way_to_group_them_count() -> None:
    runs = [run("3", "repo:shop", "team:core"), run("3", "repo:site", "team:core")]
    assert worst_case(runs, [budget("repo:shop", "2"), budget("team:core", "4")]) == Money.usd("4")
    assert worst_case(runs, [budget("all", "9"), budget("all", "30", spent="25", window="month")]) == Money.usd("5")


def test_a_day_that_ends_before_the_runs_do_allows_the_next_one_too() -> None:
    """At 23:50 with $1 left of $5 a day, the night may cost $6."""
    late = [run("10", hours=13)]
    assert worst_case(late, [budget("all", "5", spent="4")]) == Money.usd("6")
    assert worst_case([run("10")], [budget("all", "5", spent="4")]) == Money.usd("1")


_SCOPES = st.sampled_from(["repo:a", "repo:b", "team:x", "team:y", "user:u"])


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.sets(_SCOPES, max_size=3)), min_size=1, max_size=3),
    limits=st.dictionaries(st.one_of(_SCOPES, st.just("all")), st.integers(0, 5), max_size=4),
)
def test_nothing_that_the_budgets_allow_costs_more(runs: list[tuple[int, set[str]]], limits: dict[str, int]) -> None:
    """Every way in which whole dollars can be spent is tried; none goes beyond what is said."""
    exposed = [run(str(left), *sorted(scopes)) for left, scopes in runs]
    said = worst_case(exposed, [budget(scope, str(limit)) for scope, limit in limits.items()])
    ways = product(*(range(left + 1) for left, _ in runs))
    most = max(
        sum(way)
        for way in ways
        if all(
            sum(spent for spent, one in zip(way, exposed, strict=True) if scope in one.scopes) <= limit
            for scope, limit in limits.items()
        )
    )
    assert said >= Money.usd(most)
    assert said <= Money.usd(sum(left for left, _ in runs))
