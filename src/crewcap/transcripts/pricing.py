"""What a message cost, by the price book of its model and its time.

The sum is the law's: one ceiling for each request, totals are sums of those. The price is the list's; whether a
subscription paid for it, a transcript does not say.

Prices change at known moments, so a card is looked up once for a month in which a model has just one, else once for a
day, else for a quarter of an hour. Where a card has one table of rates and no gap in it, a message is five products.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from crewcap.core.money import PICO_PER_NANO, Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage
from crewcap.core.transcripts import Told

_DAY_MS = 86_400_000
_MONTH_MS = 32 * _DAY_MS
_STEP_MS = 900_000  # prices change at quarters of an hour at the earliest
_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
_Named = tuple[str, str, str, str, str]  # provider, model, speed, geo, tier
_Where = tuple[str, str, str, str, str, int]  # the same, and a month
_Flat = tuple[int, int, int, int, int, int]  # pico-dollars a token of each kind, and a search

_UNKNOWN = (-1, 0, 0, 0, 0, 0)  # no flat rates: the long way


@dataclass(slots=True)
class Pricing:
    """Prices many messages; each card is looked up once."""

    book: PriceBook
    unpriced: Counter[str] = field(default_factory=Counter)  # what nobody priced, by its name
    _months: dict[_Where, _Flat] = field(default_factory=dict)
    _days: dict[tuple[_Where, int], _Flat] = field(default_factory=dict)  # of months that have several cards, or none
    _cards: dict[tuple[_Named, int, int], RateCard | None] = field(default_factory=dict)  # by length and number of time

    def cost(self, told: Told) -> Money | None:
        """None where a model, a modifier or a piece has no price: never zero."""
        nano = self.nano(told)
        return None if nano is None else Money(nano)

    def nano(self, told: Told) -> int | None:
        """The same as a bare number, for hundreds of thousands of them."""
        _, at, _, _, provider, model, fresh, read, short, long, output, _, searches, speed, geo, tier, _, parts = told
        where = (provider, model, speed, geo, tier, at // _MONTH_MS)
        flat = self._months.get(where) or self._of_month(where)
        if flat[0] < 0:
            flat = self._days.get((where, at // _DAY_MS)) or self._in_month(where, at // _DAY_MS)
        if flat[0] < 0 or parts or (searches and flat[5] < 0):
            cost = self._of_parts(told) if parts else self._by_card(told)
            return None if cost is None else cost.nano
        pico = fresh * flat[0] + read * flat[1] + short * flat[2] + long * flat[3] + output * flat[4]
        return -(-(pico + searches * flat[5] if searches else pico) // PICO_PER_NANO)  # `Money.from_pico`

    def _of_month(self, where: _Where) -> _Flat:
        """The rates of a month, where every prompt meets the same ones all through."""
        flat = self._months[where] = _flat(self._through(where[:5], where[5], _MONTH_MS))
        return flat

    def _in_month(self, where: _Where, day: int) -> _Flat:
        """The rates of one day of a month that has several."""
        flat = self._days[where, day] = _flat(self._through(where[:5], day, _DAY_MS))
        return flat

    def _by_card(self, told: Told) -> Money | None:
        """The card's own sum."""
        card = self._card(told, told.model)
        if card is None:
            return None
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
        """The card of a month or a day where one holds all through, else of a quarter of an hour."""
        named = (told.provider, model, told.speed, told.geo, told.tier)
        found = self._of_day(named, told.at // _DAY_MS) or self._at(named, told.at // _STEP_MS)
        if found is None:
            self.unpriced["/".join(named)] += 1
        return found

    def _of_day(self, named: _Named, day: int) -> RateCard | None:
        """The only card of a day; None where it has several, or none at times."""
        return self._through(named, day * _DAY_MS // _MONTH_MS, _MONTH_MS) or self._through(named, day, _DAY_MS)

    def _through(self, named: _Named, number: int, length_ms: int) -> RateCard | None:
        """The only card of a stretch of time of this length, by its number."""
        where = (named, length_ms, number)
        if where not in self._cards:
            self._cards[where] = self._look_through(named, number * length_ms, length_ms)
        return self._cards[where]

    def _look_through(self, named: _Named, start: int, length_ms: int) -> RateCard | None:
        provider, model, speed, geo, tier = named
        modifiers = (Modifiers(speed=speed, geo=geo, tier=tier),)
        first, last = moment(start), moment(start + length_ms - 1)
        try:
            met = self.book.reachable(provider, model, start=first, end=last, modifiers=modifiers)
            return met[0] if len(met) == 1 else None
        except UnknownPrice:
            return None

    def _at(self, named: _Named, step: int) -> RateCard | None:
        where = (named, _STEP_MS, step)
        if where not in self._cards:
            self._cards[where] = self._look_up(named, step * _STEP_MS)
        return self._cards[where]

    def _look_up(self, named: _Named, at: int) -> RateCard | None:
        provider, model, speed, geo, tier = named
        try:
            return self.book.card(provider, model, at=moment(at), modifiers=Modifiers(speed=speed, geo=geo, tier=tier))
        except UnknownPrice:
            return None


def _flat(card: RateCard | None) -> _Flat:
    """Five rates and the price of a search, where that is all that a card says."""
    if card is None or card.tiers or card.unpriced:
        return _UNKNOWN
    rates = card.rates
    search = card.per_piece.get("web_search", -1)
    return rates.input, rates.cache_read, rates.write_5m, rates.write_1h, rates.output, search


def moment(at_ms: int) -> datetime:
    """A time of a transcript as a moment; what no calendar has becomes the nearest that one has."""
    try:
        return datetime.fromtimestamp(at_ms / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.min.replace(tzinfo=UTC) if at_ms < 0 else datetime.max.replace(tzinfo=UTC)
