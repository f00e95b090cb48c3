"""A queued run starts when slots, money, hours and disk allow it; else it says what it waits for, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.admission import (
    Admitted,
    Queued,
    Running,
    Situation,
    Slots,
    Wish,
    decide,
    expected_cost,
    kind_of,
    scope_in_words,
)
from crewcap.core.budget import ALL, Balance, Scope, Window
from crewcap.core.history import Job
from crewcap.core.hours import Hours
from crewcap.core.limits import CountBalance
from crewcap.core.money import ZERO, Money

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
SHOP, CORE = Scope("repo:acme/shop"), Scope("team:core")
WISH = Wish(scopes=(SHOP, CORE, ALL), cap=Money.usd(5), expected=Money.usd(2))
FREE = Situation(slots=Slots(), taken={}, balances=(), running=(), disk_free=10 << 30, disk_floor=2 << 30)


def usd(amount: str | int) -> Money:
    return Money.usd(amount)


def balance(left: str | int, scope: Scope = ALL, window: Window = "day", **said: Any) -> Balance:
    resets_at = None if window == "total" else MIDNIGHT
    spent = usd(25) - usd(left)
    values = {"spent": spent, "uncertain": ZERO, "held": ZERO, "resets_at": resets_at, "limit": usd(25), **said}
    return Balance(scope=scope, window=window, label="x", **values)


def queued(situation: Situation, wish: Wish = WISH) -> Queued:
    found = decide(wish, situation, now=NOW)
    assert isinstance(found, Queued)
    return found


def test_nothing_in_the_way_is_admission() -> None:
    assert decide(WISH, FREE, now=NOW) == Admitted()


# --- slots


def test_a_scope_without_a_free_slot_is_named_with_its_numbers() -> None:
    full = replace(FREE, slots=Slots(named={SHOP: 2}), taken={SHOP: 2})
    assert queued(full) == Queued(reason="repo acme/shop has 2 of 2 slots", scope=SHOP)


def test_0_slots_are_no_limit() -> None:
    assert decide(WISH, replace(FREE, slots=Slots(all=0, repo=0), taken={ALL: 99, SHOP: 99}), now=NOW) == Admitted()


def test_slots_of_others_do_not_matter() -> None:
    assert decide(WISH, replace(FREE, taken={Scope("repo:other"): 4}), now=NOW) == Admitted()


def test_a_limit_that_was_lowered_under_runs_at_work_admits_none() -> None:
    assert queued(replace(FREE, slots=Slots(all=2), taken={ALL: 3})).reason == "all has 3 of 2 slots"


def test_who_was_admitted_counts_for_the_next_in_the_same_pass() -> None:
    one = replace(FREE, slots=Slots(all=1), balances=[balance(3)])
    after = one.having(WISH)
    assert queued(after).scope == ALL
    assert queued(replace(after, slots=Slots())).reason.startswith("all is $1.00 short today")


# --- money


@pytest.mark.parametrize(("left", "is_enough"), [("1.99", False), ("2.00", True)])
def test_what_is_left_must_cover_what_the_workflow_usually_costs(left: str, *, is_enough: bool) -> None:
    assert (decide(WISH, replace(FREE, balances=[balance(left)]), now=NOW) == Admitted()) is is_enough


@pytest.mark.parametrize(("left", "is_enough"), [("2.49", False), ("2.50", True)])
def test_without_history_it_is_half_of_the_cap(left: str, *, is_enough: bool) -> None:
    wish = replace(WISH, expected=None)
    assert (decide(wish, replace(FREE, balances=[balance(left)]), now=NOW) == Admitted()) is is_enough


def test_a_run_is_not_expected_to_cost_more_than_its_cap() -> None:
    wish = replace(WISH, cap=usd(1), expected=usd(4))
    assert decide(wish, replace(FREE, balances=[balance(1)]), now=NOW) == Admitted()


def test_what_runs_at_work_will_probably_take_is_not_there_for_others() -> None:
    """One has $1.50 to go, one has cost more than expected already, one is elsewhere."""
    running = [
        Running(scopes=(SHOP, ALL), cap=usd(5), expected=usd(2), spent=usd("0.50")),
        Running(scopes=(SHOP, ALL), cap=usd(5), expected=usd(2), spent=usd(3)),
        Running(scopes=(Scope("repo:other"),), cap=usd(5)),
    ]
    found = queued(replace(FREE, balances=[balance(3, SHOP)], running=running))
    assert found == Queued(
        reason="repo acme/shop is $0.50 short today: $3.00 of $25.00 left, 1 run at work may need $1.50 of it, "
        "this one about $2.00",
        scope=SHOP,
        opens_at=MIDNIGHT,
    )


def test_money_that_is_held_is_not_left() -> None:
    held = balance(3, held=usd(2))
    assert queued(replace(FREE, balances=[held])).reason.startswith("all is $1.00 short today: $1.00 of $25.00 left")


def test_a_run_that_goes_on_needs_what_is_expected_from_there_and_never_nothing() -> None:
    wish = replace(WISH, spent=usd("1.50"))
    assert decide(wish, replace(FREE, balances=[balance("0.50")]), now=NOW) == Admitted()
    beyond = replace(WISH, spent=usd(4))
    assert decide(beyond, replace(FREE, balances=[balance("0.01")]), now=NOW) == Admitted()
    assert queued(replace(FREE, balances=[balance(0)]), beyond).scope == ALL


def test_only_a_word_helps_where_no_window_gives_it_back() -> None:
    assert queued(replace(FREE, balances=[balance(1, window="total")])).opens_at is None
    small = balance(1, limit=usd(1), spent=ZERO)
    assert queued(replace(FREE, balances=[small])).opens_at is None


def test_budgets_of_others_do_not_matter() -> None:
    assert decide(WISH, replace(FREE, balances=[balance(0, Scope("repo:other"))]), now=NOW) == Admitted()


def test_what_lasts_longest_is_named() -> None:
    """A word before an instant, a later instant before a sooner one, an instant before another run's end."""
    slots = replace(FREE, slots=Slots(all=1), taken={ALL: 1})
    day = balance(1, SHOP)
    month = balance(0, CORE, "month", resets_at=MIDNIGHT + timedelta(days=8))
    ever = balance(0, ALL, "total")
    assert queued(slots).scope == ALL
    assert queued(replace(slots, balances=[day])).scope == SHOP
    assert queued(replace(slots, balances=[day, month])) == queued(replace(slots, balances=[month, day]))
    assert queued(replace(slots, balances=[day, month])).opens_at == MIDNIGHT + timedelta(days=8)
    assert queued(replace(slots, balances=[day, month, ever])).opens_at is None


# --- counts, hours, disk, the provider


@pytest.mark.parametrize(("limit", "opens_at"), [(40, MIDNIGHT), (0, None)])
def test_a_count_that_is_used_up_opens_with_its_window(limit: int, opens_at: datetime | None) -> None:
    count = CountBalance(scope=SHOP, kind="runs", window="day", label="x", limit=limit, used=limit, resets_at=MIDNIGHT)
    found = queued(replace(FREE, counts=[count]))
    assert found == Queued(reason=f"repo acme/shop has used its {limit} runs today", scope=SHOP, opens_at=opens_at)
    assert decide(WISH, replace(FREE, counts=[replace(count, limit=41)]), now=NOW) == Admitted()


def test_hours_say_when_they_open_by_their_own_zone() -> None:
    wish = replace(WISH, hours=Hours.parse("20:00-07:00"), zone=ZoneInfo("Europe/Berlin"))
    opens_at = datetime(2026, 11, 22, 19, tzinfo=UTC)
    assert queued(FREE, wish) == Queued(reason="it may start at 20:00-07:00", scope="hours", opens_at=opens_at)
    assert decide(wish, FREE, now=opens_at) == Admitted()


def test_below_the_disks_floor_nothing_starts() -> None:
    low = replace(FREE, disk_free=(2 << 30) - 1)
    assert queued(low).reason == "the disk has 1.9 GiB free, and no run starts below 2.0 GiB"
    assert decide(WISH, replace(low, disk_free=2 << 30), now=NOW) == Admitted()


def test_a_key_that_is_out_of_order_is_said_as_it_is_known() -> None:
    found = queued(FREE, replace(WISH, frozen="anthropic's key has no credit left"))
    assert (found.reason, found.scope) == ("anthropic's key has no credit left", "provider")


def test_what_is_expected_is_the_median_of_what_has_ended() -> None:
    def job(cost: str, **said: Any) -> Job:
        values = {"name": "a", "workflow": "run", "model": "m", "repo": "r", "at": NOW, "requests": 1}
        return Job(**{**values, "is_run": True, "is_over": True, "is_good": True, "cost": usd(cost), **said})

    past = [job("1"), job("2"), job("9"), job("50", is_over=False), job("60", workflow="b"), job("70", is_run=False)]
    assert expected_cost(past, "run") == usd(2)
    assert expected_cost(past, "c") is None


# --- laws

SCOPES = [ALL, SHOP, Scope("repo:b"), CORE]
AMOUNTS = st.integers(0, 30).map(Money)
CHAINS = st.sampled_from([(SHOP, CORE, ALL), (Scope("repo:b"), ALL), (SHOP, ALL)])
EXPECTED = st.none() | AMOUNTS
RUNNING = st.builds(Running, scopes=CHAINS, cap=AMOUNTS, spent=AMOUNTS, expected=EXPECTED)
WISHES = st.builds(Wish, scopes=CHAINS, cap=AMOUNTS, spent=AMOUNTS, expected=EXPECTED)
BALANCES = st.builds(
    lambda scope, limit, spent, held, window: Balance(
        scope=scope, window=window, label="x", limit=limit, spent=spent, uncertain=ZERO, held=held,
        resets_at=None if window == "total" else MIDNIGHT,
    ),
    st.sampled_from(SCOPES), AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from(["day", "total"]),
)  # fmt: skip
SITUATIONS = st.builds(
    Situation,
    slots=st.builds(Slots, all=st.integers(0, 3), team=st.integers(0, 2), repo=st.integers(0, 2)),
    taken=st.dictionaries(st.sampled_from(SCOPES), st.integers(0, 4)),
    balances=st.lists(BALANCES, max_size=4),
    running=st.lists(RUNNING, max_size=3),
    disk_free=st.just(1),
    disk_floor=st.just(1),
)


def missing(wish: Wish, situation: Situation) -> Mapping[Scope, int]:
    """By how much each scope is short, by the rule as MONEY says it, in nano-dollars."""

    def rest(run: Running) -> int:
        half = (run.cap.nano + 1) // 2
        return max(0, min(half if run.expected is None else run.expected.nano, run.cap.nano) - run.spent.nano)

    found: dict[Scope, int] = {}
    for each in situation.balances:
        others = sum(rest(run) for run in situation.running if each.scope in run.scopes)
        short = max(1, rest(wish)) - (each.left.nano - others)
        if each.scope in wish.scopes and short > 0:
            found[each.scope] = max(short, found.get(each.scope, 0))
    return found


def full(wish: Wish, situation: Situation) -> set[Scope]:
    limits = situation.slots.slots_of(wish.scopes)
    return {scope for scope, limit in limits.items() if situation.taken.get(scope, 0) >= limit}


@given(WISHES, SITUATIONS)
@settings(max_examples=150)
def test_it_admits_exactly_where_slots_and_money_allow_and_names_a_scope_that_binds(
    wish: Wish, situation: Situation
) -> None:
    """Never above slots, never where money is short by the rule, never a reason that is not one."""
    found = decide(wish, situation, now=NOW)
    in_the_way = missing(wish, situation).keys() | full(wish, situation)
    match found:
        case Admitted():
            assert not in_the_way
        case Queued():
            assert found.scope in in_the_way
            assert found.reason.startswith(scope_in_words(found.scope))


@given(WISHES, SITUATIONS, AMOUNTS)
@settings(max_examples=100)
def test_more_money_never_takes_an_admission_back(wish: Wish, situation: Situation, more: Money) -> None:
    richer = [replace(each, limit=each.limit + more) for each in situation.balances]
    if decide(wish, situation, now=NOW) == Admitted():
        assert decide(wish, replace(situation, balances=richer), now=NOW) == Admitted()


@given(st.lists(WISHES, max_size=8), SITUATIONS)
@settings(max_examples=60)
def test_a_whole_pass_never_goes_above_the_slots(wishes: list[Wish], situation: Situation) -> None:
    before = situation.taken
    for wish in wishes:
        if decide(wish, situation, now=NOW) == Admitted():
            situation = situation.having(wish)
    for scope, limit in situation.slots.slots_of(SCOPES).items():
        assert situation.taken.get(scope, 0) <= max(limit, before.get(scope, 0))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (
            "all is $1.00 short today: $3.00 of $25.00 left, 1 run at work may need $2.00 of it, this one about $2.00",
            "all is $0.07 short today: $1.02 of $25.00 left, this one about $1.09",
            True,
        ),
        ("repo acme/shop has 2 of 2 slots", "repo acme/shop has 3 of 2 slots", True),
        ("repo acme/shop has 2 of 2 slots", "repo acme/shop2 has 2 of 2 slots", False),
        ("all is $1.00 short today: $3.00 left", "all is $1.00 short this month: $3.00 left", False),
        ("the disk has 1.9 GiB free, and no run starts below 2.0 GiB", "it may start at 20:00-07:00", False),
    ],
)
def test_a_reason_is_of_the_same_kind_whatever_its_figures(one: str, other: str, *, is_same: bool) -> None:
    assert (kind_of(one) == kind_of(other)) == is_same
