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
from crewcap.core.pricing import PriceBook, RateCard, UnknownPrice, Usage
from crewcap.core.transcripts import Told

_STEP_MS = 900_000  # prices change at quarters of an hour at the earliest
_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
_Where = tuple[str, str, str, str, str, int]


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
        try:
            return None if card is None else card.cost(told.usage)
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
        where = (told.provider, model, told.speed, told.geo, told.tier, told.at // _STEP_MS)
        try:
            return self._cards[where]
        except KeyError:
            found = self._cards[where] = self._look_up(told, model)
            return found

    def _look_up(self, told: Told, model: str) -> RateCard | None:
        try:
            return self.book.card(told.provider, model, at=moment(told.at), modifiers=told.modifiers)
        except UnknownPrice as unknown:
            self.unpriced[str(unknown)] += 1
            return None


def moment(at_ms: int) -> datetime:
    """A time of a transcript as a moment; what no calendar has becomes the nearest that one has."""
    try:
        return datetime.fromtimestamp(at_ms / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.min.replace(tzinfo=UTC) if at_ms < 0 else datetime.max.replace(tzinfo=UTC)
