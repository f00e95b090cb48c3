"""What a refusal says: scope, cap, spent, held, needed, and the smallest cap that would work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crewcap.core.budget import Balance, Refused, Scope
from crewcap.core.money import ZERO, Money
from crewcap.gateway.front.answers import budget_message, smallest_cap, waiting_message

LIMIT = Balance(
    scope=Scope("run:01J"),
    window="total",
    label="total",
    limit=Money.usd("0.10"),
    spent=Money.usd("0.07"),
    uncertain=ZERO,
    held=Money.usd("0.01"),
)


def refused(limit: Balance = LIMIT) -> Refused:
    return Refused(binding=limit, needed=Money.usd("0.0844"), can_wait=False)


def test_a_refusal_can_be_acted_on() -> None:
    assert budget_message(refused()) == (
        "run:01J has $0.02 left of $0.10 ($0.07 spent, $0.01 held) and this request needs at least $0.0844. "
        "The smallest cap that would work is $0.17; raise it with: crewcap resume 01J --add AMOUNT"
    )


def test_a_window_and_what_is_uncertain_are_named() -> None:
    limit = replace(LIMIT, scope=Scope("team:core"), window="month", uncertain=Money.usd("0.02"))
    message = budget_message(refused(limit))
    assert "left of $0.10 this month" in message
    assert "and $0.02 uncertain" in message
    assert message.endswith("crewcap budget set team:core month AMOUNT")


@pytest.mark.parametrize(("needed", "cap"), [(1, "$0.09"), (10_000_000, "$0.09"), (10_000_001, "$0.10")])
def test_the_smallest_cap_is_rounded_up_to_a_cent(needed: int, cap: str) -> None:
    assert smallest_cap(LIMIT, Money(needed)) == cap


def test_who_waited_in_vain_is_told_for_what() -> None:
    assert "is held by requests in flight. Waited 300 s" in waiting_message(refused(), 300)
    assert "behind other requests" in waiting_message(None, 300)
