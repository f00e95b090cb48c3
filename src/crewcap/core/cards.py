"""The price card that a request was settled at, found again by its id.

The ledger keeps a card's id, a hash of all its rates. The same card is found by asking the price book for the model
under every set of modifiers at the time of the request. Where the book has changed since, the card is the one that was
kept when it was first seen, in full (`as_text`); where nobody kept it, the standard card of that time stands in, and
whatever is computed with it is called estimated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import product
from typing import Any

from crewcap.core.pricing import Modifiers, PriceBook, RateCard, Rates, Tier, UnknownPrice

SPEEDS = ("standard", "fast")
GEOS = ("global", "us")
TIERS = ("standard", "batch", "flex", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A card as it was when something was first settled at it."""

    card: RateCard
    modifiers: Modifiers  # that led to it then
    book: str  # hash of the price book of then
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """What was asked for and refused, because nobody had a price of it."""

    provider: str
    model: str
    requests: int
    last_at: datetime
    message: str  # of the last one


def settled_at(
    book: PriceBook,
    provider: str,
    model: str,
    id_: str,
    moments: Iterable[datetime],
    *,
    kept: Mapping[str, Kept] | None = None,
) -> tuple[RateCard | None, Modifiers | None]:
    """The card and the modifiers that lead to it; the standard card and none where nobody knows it any more."""
    stand_in: RateCard | None = None
    for modifiers, card in _cards(book, provider, model, moments):
        if card.id == id_:
            return card, modifiers
        stand_in = stand_in or card
    if kept and id_ in kept:
        return kept[id_].card, kept[id_].modifiers
    return stand_in, None


def as_text(card: RateCard, modifiers: Modifiers) -> str:
    """A card in full, as it is kept."""
    told = {**asdict(card), "unpriced": sorted(card.unpriced), "modifiers": asdict(modifiers)}
    return json.dumps(told, separators=(",", ":"), sort_keys=True)


def from_text(text: str) -> tuple[RateCard, Modifiers]:
    """The same again; `ValueError` where it is none."""
    try:
        told: dict[str, Any] = json.loads(text)
        modifiers = Modifiers(**told.pop("modifiers"))
        told["rates"] = Rates(**told["rates"])
        told["tiers"] = tuple(Tier(above=each["above"], rates=Rates(**each["rates"])) for each in told["tiers"])
        told["unpriced"] = frozenset(told["unpriced"])
        return RateCard(**told), modifiers
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no price card: {error}") from error


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
