"""What a message cost, by the price book of its model and its time.

The sum is the law's: one ceiling for each request, totals are sums of those. The price is the list's; whether a
subscription paid for it, a transcript does not say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage
from crewcap.core.transcripts import Told

_DAY_MS = 86_400_000
_STEP_MS = 900_000  # prices change at quarters of an hour at the earliest
_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
_Where = tuple[str, str, str, str, str, int, int]


@dataclass(slots=True)
class Pricing:
    """Prices many messages; each card is looked up once."""

    book: PriceBook
    unpriced: Counter[str] = field(default_factory=Counter)  # what nobody priced, by its name
    _cards: dict[_Where, RateCard | None] = field(default_factory=dict)

    def cost(self, told: Told) -> Money | None:
        """None where a model, a modifier or a piece has no price: never zero."""
        if told.parts:
            return self._of_parts(told)
        card = self._card(told, told.model)
        if card is None:
            return None
        if not told.searches and not card.unpriced:  # the usual: the card's own sum, without the object around it
            rates = card.rates_for(told.input + told.cache_read + told.write_5m + told.write_1h)
            return Money.from_pico(
                told.input * rates.input
                + told.cache_read * rates.cache_read
                + told.write_5m * rates.write_5m
                + told.write_1h * rates.write_1h
                + told.output * rates.output
            )
        try:
            return card.cost(told.usage)
        except UnknownPrice as unknown:
            self.unpriced[str(unknown)] += 1
            return None

    def _of_parts(self, told: Told) -> Money | None:
        """A bill of several samplings, each at its own model, rounded up once."""
        said: dict[str, Any] = msgspec.json.decode(told.parts)
        pieces = {**said["pieces"], **({"web_search": told.searches} if told.searches else {})}
        pico = 0
        for place, (model, *counts) in enumerate(said["parts"]):
            card = self._card(told, model)
            if card is None:
                return None
            usage = Usage(**dict(zip(_KINDS, counts, strict=True)), pieces={} if place else pieces)
            try:
                pico += card.pico(usage)
            except UnknownPrice as unknown:
                self.unpriced[str(unknown)] += 1
                return None
        return Money.from_pico(pico)

    def _card(self, told: Told, model: str) -> RateCard | None:
        """The card of a day where one holds all day, else of a quarter of an hour."""
        named = (told.provider, model, told.speed, told.geo, told.tier)
        day = told.at // _DAY_MS
        try:
            return self._cards[(*named, day, 0)]
        except KeyError:
            pass
        first, last = (self._look_up(named, at) for at in (day * _DAY_MS, (day + 1) * _DAY_MS - 1))
        where = (*named, day, 0) if first == last else (*named, 0, told.at // _STEP_MS)
        if where not in self._cards:
            self._cards[where] = first if first == last else self._look_up(named, told.at)
        found = self._cards[where]
        if found is None:
            self.unpriced["/".join(named)] += 1
        return found

    def _look_up(self, named: tuple[str, str, str, str, str], at: int) -> RateCard | None:
        provider, model, speed, geo, tier = named
        try:
            return self.book.card(provider, model, at=moment(at), modifiers=Modifiers(speed=speed, geo=geo, tier=tier))
        except UnknownPrice:
            return None


def moment(at_ms: int) -> datetime:
    """A time of a transcript as a moment; what no calendar has becomes the nearest that one has."""
    try:
        return datetime.fromtimestamp(at_ms / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.min.replace(tzinfo=UTC) if at_ms < 0 else datetime.max.replace(tzinfo=UTC)
