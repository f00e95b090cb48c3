"""A key that can never pay again is told at once; the latch falls when its limit changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crewcap.core.budget import Balance, KeyId, Refused, Scope
from crewcap.core.money import ZERO, Money
from crewcap.gateway.money.latch import Latches

KEY = KeyId("k")
LIMIT = Balance(
    scope=Scope("key:k"),
    window="total",
    label="total",
    limit=Money(1_000),
    spent=Money(950),
    uncertain=ZERO,
    held=ZERO,
    version=1,
)


def refused(limit: Balance = LIMIT, needed: int = 100) -> Refused:
    return Refused(binding=limit, needed=Money(needed), can_wait=False)


def latched(limit: Balance = LIMIT) -> Latches:
    latches = Latches()
    latches.saw(KEY, Money(100))
    latches.refused(KEY, refused(limit), by_bytes=Money(400))
    return latches


def test_a_final_refusal_latches_and_is_told_again() -> None:
    latches = latched()
    assert latches.may_hold(KEY, by_bytes=Money(400))
    again = latches.holds(KEY, [LIMIT], by_bytes=Money(400))
    assert again is not None
    assert again.needed == Money(100)


@pytest.mark.parametrize(
    "changed",
    [
        replace(LIMIT, version=2),
        replace(LIMIT, label="2026-11-23@UTC", window="day"),
        replace(LIMIT, limit=Money(2_000)),
        replace(LIMIT, spent=Money(900)),
    ],
    ids=["version", "window", "amount", "money-given-back"],
)
def test_the_latch_falls_when_its_limit_changes(changed: Balance) -> None:
    latches = latched()
    assert latches.holds(KEY, [changed], by_bytes=Money(400)) is None
    assert not latches.may_hold(KEY, by_bytes=Money(400))


@pytest.mark.parametrize("scope", ["all", "repo:acme/shop", "team:core", "issue:files/x"])
def test_a_shortage_that_is_shared_never_latches(scope: str) -> None:
    assert not latched(replace(LIMIT, scope=Scope(scope))).may_hold(KEY, by_bytes=Money(400))


def test_nothing_latches_while_money_is_held() -> None:
    assert not latched(replace(LIMIT, held=Money(10))).may_hold(KEY, by_bytes=Money(400))


def test_a_large_request_does_not_latch_a_key_that_can_pay_for_a_small_one() -> None:
    latches = Latches()
    latches.saw(KEY, Money(20))
    assert not latches.refused(KEY, refused(needed=500), by_bytes=Money(900))


@pytest.mark.parametrize("by_bytes", [399, 441])
def test_a_request_of_another_size_is_looked_at(by_bytes: int) -> None:
    """A refusal must be true: a smaller one may fit, and a larger one needs more than was told."""
    assert not latched().may_hold(KEY, by_bytes=Money(by_bytes))


def test_a_request_that_grew_a_little_is_told_in_proportion() -> None:
    again = latched().holds(KEY, [LIMIT], by_bytes=Money(440))
    assert again is not None
    assert again.needed == Money(110)


def test_each_size_is_told_what_it_needs_itself() -> None:
    latches = latched()
    latches.refused(KEY, refused(needed=330), by_bytes=Money(900))
    for by_bytes, needed in ((400, 100), (900, 330)):
        again = latches.holds(KEY, [LIMIT], by_bytes=Money(by_bytes))
        assert again is not None
        assert again.needed == Money(needed)
