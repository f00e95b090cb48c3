"""From tokens to the cost that was booked, line by line: each kind times its price, added up, rounded up once.

A line is exact in pico-dollars. Their sum, rounded up to a nano-dollar, is what the request cost; where the ledger has
another number although the card is known, that is a difference, and an audit says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Usage

KINDS: Mapping[str, str] = {
    "input": "input",
    "cache_read": "cache read",
    "write_5m": "cache write, 5 minutes",
    "write_1h": "cache write, 1 hour",
    "output": "output",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a bill."""

    model: str
    kind: str
    count: int  # tokens, or pieces
    unit_pico: int  # of one of them
    is_token: bool = True

    @property
    def pico(self) -> int:
        """What the line comes to."""
        return self.count * self.unit_pico


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A request's lines and what they come to."""

    items: tuple[Item, ...]

    @property
    def pico(self) -> int:
        """The lines together."""
        return sum(item.pico for item in self.items)

    @property
    def cost(self) -> Money:
        """Rounded up once, to a nano-dollar."""
        return Money.from_pico(self.pico)


def bill(parts: Sequence[tuple[RateCard, Usage]]) -> Bill:
    """The bill of an answer; of several samplings, each on its own card."""
    return Bill(items=tuple(item for card, usage in parts for item in _items(card, usage)))


def _items(card: RateCard, usage: Usage) -> Iterator[Item]:
    rates = card.rates_for(usage.prompt)
    for kind, name in KINDS.items():
        if count := getattr(usage, kind):
            yield Item(model=card.model, kind=name, count=count, unit_pico=getattr(rates, kind))
    for name, count in usage.apart.items():
        usual = rates.cache_read if name.startswith("cache_") else rates.input
        more = card.per_piece.get(name, usual) - usual
        if more:
            said = f"{name.replace('_', ' ')}, beyond the above"
            yield Item(model=card.model, kind=said, count=count, unit_pico=more)
    for name, count in usage.pieces.items():
        if count:
            price = card.per_piece.get(name, 0)
            yield Item(model=card.model, kind=name.replace("_", " "), count=count, unit_pico=price, is_token=False)
