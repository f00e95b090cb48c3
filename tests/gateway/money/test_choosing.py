"""Take, wait, take less, refuse: in this order (MONEY section 5)."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.budget import ALL, Balance, BootId, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.gateway.money.choosing import GiveUp, Take, Wait, Want, choose
from crewcap.stores import HoldOrder

KEY = VirtualKey(id=KeyId("k"), hash="", scopes=(Scope("key:k"), ALL), created_at=datetime(2026, 11, 22, tzinfo=UTC))


def order(output: int) -> HoldOrder:
    return HoldOrder(
        hold=HoldId("h"),
        boot=BootId("b"),
        key=KEY.id,
        amount=Money(100 + output),
        model="m",
        provider="p",
        book="",
        prompt_bound=100,
        output_limit=output,
        asked_output=output,
    )


def want(full: int, floor: int = 10, *, keep: int = 0) -> Want:
    """A prompt of 100 nano and an output of 1 nano a token."""

    def clamp(room: Money) -> int | None:
        output = min(full, room.nano - 100)
        return output if output >= floor else None

    return Want(
        key=KEY,
        full=full,
        most=Money(100 + full),
        floor=floor,
        least=Money(100 + floor),
        clamp=clamp,
        order=order,
        keep=Money(keep),
    )


def balance(limit: int, *, spent: int = 0, held: int = 0, scope: Scope = ALL) -> Balance:
    return Balance(
        scope=scope,
        window="total",
        label="total",
        limit=Money(limit),
        spent=Money(spent),
        uncertain=ZERO,
        held=Money(held),
    )


def test_what_fits_is_taken_whole() -> None:
    assert choose(want(500), [balance(600)]) == Take(500)


def test_money_that_others_hold_is_waited_for_before_anything_is_clamped() -> None:
    assert isinstance(choose(want(500), [balance(1_000, held=600)]), Wait)


def test_what_would_not_fit_even_then_takes_what_is_left_now() -> None:
    assert choose(want(500), [balance(1_000, spent=600, held=100)]) == Take(200)


def test_less_than_a_useful_answer_is_waited_for_while_it_is_only_held() -> None:
    assert isinstance(choose(want(500), [balance(1_000, spent=600, held=395)]), Wait)


def test_nothing_useful_left_is_a_refusal_that_needs_the_least() -> None:
    step = choose(want(500), [balance(1_000, spent=895)])
    assert isinstance(step, GiveUp)
    assert step.refusal.needed == Money(110)


def test_every_limit_counts() -> None:
    """A wide limit does not help a narrow one; the narrow one is named."""
    step = choose(want(500), [balance(10_000), balance(50, scope=Scope("key:k"))])
    assert isinstance(step, GiveUp)
    assert step.refusal.binding.scope == "key:k"


def test_what_is_kept_stays_free_of_the_runs_own_cap_and_of_nothing_else() -> None:
    """A clamp stops before it; other scopes have no last slice."""
    run = Scope("run:r")
    assert choose(want(500, keep=50), [balance(660, scope=run)]) == Take(500)
    assert choose(want(500, keep=50), [balance(640, scope=run)]) == Take(490)
    assert choose(want(500, keep=50), [balance(600, scope=Scope("issue:files/x")), balance(900, scope=run)]) == Take(
        500
    )
    step = choose(want(500, keep=50), [balance(159, scope=run)])
    assert isinstance(step, GiveUp)
    assert (step.refusal.needed, step.refusal.kept) == (Money(110), Money(50))


def test_money_that_is_only_held_is_waited_for_before_the_last_slice_is_thought_of() -> None:
    """Only what would not fit with everything held come back gives up, and then the slice is opened."""
    run = Scope("run:r")
    assert isinstance(choose(want(500, keep=50), [balance(200, held=150, scope=run)]), Wait)
    assert isinstance(choose(want(500, keep=50), [balance(155, held=100, scope=run)]), GiveUp)


money = st.integers(min_value=0, max_value=1_500)


@settings(max_examples=200)
@given(full=st.integers(10, 800), rows=st.lists(st.tuples(money, money, money), min_size=1, max_size=3))
def test_no_step_breaks_the_law_and_no_refusal_is_early(full: int, rows: list[tuple[int, int, int]]) -> None:
    """What is taken fits every limit; what is refused would not fit with everything held come back."""
    balances = [balance(limit, spent=spent, held=held) for limit, spent, held in rows]
    step = choose(want(full), balances)
    if isinstance(step, Take):
        assert 10 <= step.output <= full
        assert all(order(step.output).amount <= each.left for each in balances)
    elif isinstance(step, GiveUp):
        assert any(Money(110) > each.left_when_idle for each in balances)
    else:
        assert any(each.held for each in balances)
