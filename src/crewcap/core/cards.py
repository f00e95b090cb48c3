"""The price card that a request was settled at, found again by its id.

The ledger keeps a card's id, a hash of all its rates. The same card is found by asking the price book for the model
under every set of modifiers at the time of the request. Where the book has changed since, the standard card of that
time stands in, and whatever is computed with it is called estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import product

from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice

SPEEDS = ("standard", "fast")
GEOS = ("global", "us")
TIERS = ("standard", "batch", "flex", "priority")


def settled_at(
    book: PriceBook, provider: str, model: str, id_: str, moments: Iterable[datetime]
) -> tuple[RateCard | None, Modifiers | None]:
    """The card and the modifiers that lead to it; the standard card and none where it is not there any more."""
    stand_in: RateCard | None = None
    for modifiers, card in _cards(book, provider, model, moments):
        if card.id == id_:
            return card, modifiers
        stand_in = stand_in or card
    return stand_in, None


def _cards(
    book: PriceBook, provider: str, model: str, moments: Iterable[datetime]
) -> Iterator[tuple[Modifiers, RateCard]]:
    """Every card that the model had at these moments, the standard one first."""
    for at in moments:
        for speed, geo, tier in product(SPEEDS, GEOS, TIERS):
            modifiers = Modifiers(speed=speed, geo=geo, tier=tier)
            try:
                yield modifiers, book.card(provider, model, at=at, modifiers=modifiers)
            except UnknownPrice:
                continue
