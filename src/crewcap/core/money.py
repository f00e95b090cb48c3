"""Money: whole nano-dollars, never a float.

Two units, both integers, and one place where they meet:

    rates    pico-dollars per token (1e-12 USD); every published price is a whole number of them
    money    nano-dollars (1e-9 USD); what budgets, entries, reports and exports are made of

A request's cost is the sum of its pico-dollars, rounded *up* to a nano-dollar once (`Money.from_pico`).
Every total anywhere is a sum of such costs, so two totals of the same requests are equal to the last unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
LARGEST_NANO = 9_000_000_000 * NANO_PER_USD  # a signed 64-bit column holds it with room to spare

_SHOWN_AS_ONE_USD = NANO_PER_USD - 50_000  # from here on four decimals would round to 1.0000

_AMOUNT = re.compile(r"(?P<whole>\d{1,40})(?:\.(?P<part>\d+))?\Z", re.ASCII)


class MoneyError(ValueError):
    """An amount of money is not written as one: digits, at most one point, at most nine decimals."""


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """A whole number of nano-dollars; may be negative where it is a difference."""

    nano: int

    @classmethod
    def usd(cls, amount: str | int | Decimal) -> Money:
        """Read dollars as people write them: `25`, `25.00`, `"0.70"`.

        Refuses floats, signs, exponents, commas, NaN and more than nine decimals with `MoneyError`.
        """
        if isinstance(amount, bool) or not isinstance(amount, (str, int, Decimal)):
            raise MoneyError(f"{amount!r} is not an amount of money; write it as 25.00")
        text = format(amount, "f") if isinstance(amount, Decimal) and amount.is_finite() else str(amount).strip()
        match = _AMOUNT.match(text)
        if match is None:
            raise MoneyError(f"{text[:40]!r} is not an amount of money{_better_spelling(text)}")
        part = (match["part"] or "").rstrip("0")
        if len(part) > 9:
            raise MoneyError(f"{text[:40]!r} has more than nine decimals; a nano-dollar is the smallest unit")
        nano = int(match["whole"]) * NANO_PER_USD + int((part or "0").ljust(9, "0"))
        if nano > LARGEST_NANO:
            raise MoneyError(f"{text[:40]!r} is more than crewcap can book ($9,000,000,000)")
        return cls(nano)

    @classmethod
    def from_pico(cls, pico: int) -> Money:
        """Round a request's pico-dollars up to the next nano-dollar: the only rounding there is."""
        return cls(-(-pico // PICO_PER_NANO))

    def __add__(self, other: Money) -> Money:
        return Money(self.nano + other.nano)

    def __sub__(self, other: Money) -> Money:
        return Money(self.nano - other.nano)

    def __neg__(self) -> Money:
        return Money(-self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    def exact(self) -> str:
        """All nine decimals, for JSON and the books: `1.250000000`. Inverse of `usd` for what is not negative."""
        sign, nano = ("-", -self.nano) if self.nano < 0 else ("", self.nano)
        return f"{sign}{nano // NANO_PER_USD}.{nano % NANO_PER_USD:09d}"

    def show(self) -> str:
        """Money as people read it: `$18.40` from a dollar up, `$0.0986` and `$0.50` below; never a lie of zero."""
        sign, nano = ("-", -self.nano) if self.nano < 0 else ("", self.nano)
        places = 2 if nano >= _SHOWN_AS_ONE_USD or nano == 0 else 4
        unit = 10 ** (9 - places)
        rounded = max(1, (nano + unit // 2) // unit) if nano else 0
        if places == 4 and rounded % 100 == 0:
            places, rounded = 2, rounded // 100
        return f"{sign}${rounded // 10**places:,}.{rounded % 10**places:0{places}d}"

    def __str__(self) -> str:
        return self.show()


ZERO = Money(0)


def total(amounts: Iterable[Money]) -> Money:
    """Add amounts up."""
    return Money(sum(amount.nano for amount in amounts))


def _better_spelling(text: str) -> str:
    """Say how the amount is probably meant, as the end of the message."""
    plain = text.removeprefix("$").replace(",", ".") if text.count(",") == 1 else text.removeprefix("$")
    if plain != text and _AMOUNT.match(plain):
        return f"; did you mean {plain}?"
    if text.startswith("-"):
        return "; it cannot be negative"
    return "; write it as 25.00"
