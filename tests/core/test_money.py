"""Money is whole nano-dollars, read and shown exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.money import LARGEST_NANO, NANO_PER_USD, ZERO, Money, MoneyError, total

amounts = st.integers(0, LARGEST_NANO).map(Money)
differences = st.integers(-LARGEST_NANO, LARGEST_NANO).map(Money)


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("25", 25 * NANO_PER_USD),
        ("25.00", 25 * NANO_PER_USD),
        (" 0.70 ", 700_000_000),
        (5, 5 * NANO_PER_USD),
        (Decimal("5.00"), 5 * NANO_PER_USD),
        (Decimal("1E+2"), 100 * NANO_PER_USD),
        ("0.000000001", 1),
        ("0.1000000000000", 100_000_000),
        ("0", 0),
        ("9000000000", LARGEST_NANO),
    ],
)
def test_dollars_are_read_as_people_write_them(written: str | int | Decimal, nano: int) -> None:
    assert Money.usd(written).nano == nano


@pytest.mark.parametrize(
    "written",
    ["", "5,00", "1e3", "-1", "+1", "NaN", "inf", "$5", "1.", ".5", "1_000", "0x10", "٣", "0.0000000001", "9000000001"],
)
def test_what_is_not_plainly_an_amount_is_refused(written: str) -> None:
    """A cap that is misread is worse than one that is refused."""
    with pytest.raises(MoneyError):
        Money.usd(written)


@pytest.mark.parametrize("written", [1.5, True, None, Decimal("NaN"), Decimal("Infinity"), Decimal(-1)])
def test_floats_booleans_and_infinities_are_never_money(written: object) -> None:
    with pytest.raises(MoneyError):
        Money.usd(written)  # type: ignore[arg-type]  # the point of the test


def test_a_comma_or_a_dollar_sign_gets_the_right_spelling() -> None:
    with pytest.raises(MoneyError, match=r"did you mean 5\.00\?"):
        Money.usd("5,00")
    with pytest.raises(MoneyError, match=r"did you mean 5\?"):
        Money.usd("$5")
    with pytest.raises(MoneyError, match="cannot be negative"):
        Money.usd("-1")


def test_a_long_wrong_amount_is_not_repeated_in_full() -> None:
    with pytest.raises(MoneyError) as refused:
        Money.usd("9" * 10_000)
    assert len(str(refused.value)) < 200


@given(amounts)
def test_what_is_shown_exactly_is_read_back_exactly(amount: Money) -> None:
    assert Money.usd(amount.exact()) == amount


@given(differences, differences)
def test_sums_and_differences_lose_nothing(one: Money, other: Money) -> None:
    assert one + other - other == one
    assert one + -one == Money(0)
    assert total([one, other, -other]) == one


def test_a_total_takes_anything_that_can_be_walked_over() -> None:
    assert total(Money(n) for n in range(5)) == Money(10)
    assert total([]) == ZERO


@given(st.integers(0, 10**24))
def test_pico_dollars_are_rounded_up_and_by_less_than_one_nano_dollar(pico: int) -> None:
    """Rounding down would let a million requests spend money that no budget saw."""
    rounded = Money.from_pico(pico).nano * 1_000
    assert 0 <= rounded - pico < 1_000


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (18_400_000_000, "$18.40"),
        (98_600_000, "$0.0986"),
        (500_000_000, "$0.50"),
        (88_000_000, "$0.0880"),
        (0, "$0.00"),
        (1, "$0.0001"),
        (999_940_000, "$0.9999"),
        (999_960_000, "$1.00"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-2_500_000_000, "-$2.50"),
        (-1, "-$0.0001"),
    ],
)
def test_money_is_shown_as_people_read_it(nano: int, shown: str) -> None:
    """Two decimals from a dollar up, four below, and never a zero for what is not nothing."""
    assert Money(nano).show() == shown
    assert str(Money(nano)) == shown


@given(differences)
def test_what_is_shown_is_nothing_only_when_it_is_nothing(amount: Money) -> None:
    assert (amount.show() in {"$0.00", "$0.0000"}) == (amount == ZERO)
    assert bool(amount) == (amount != ZERO)
