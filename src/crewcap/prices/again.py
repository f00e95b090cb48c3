"""A closed request priced once more, by today's table: its own date, model, tokens and modifiers, as it was settled.

Modifiers stand in the provider's words where these tell them (Anthropic's usage does); else they are those that lead to
the card that it was settled at, in today's book or as it was kept. A request whose number does not follow from its own
card was not made by a price alone, and is left as it is.

Most requests meet the very card that they were settled at: of these nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from crewcap.core.cards import Kept, settled_at
from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage
from crewcap.core.reprice import Booked, LeftOut, Repriced
from crewcap.core.whatif import modifiers_of
from crewcap.wire import Reading
from crewcap.wire.again import reread

Parts = Sequence[tuple[str, Usage]]
TELLS_MODIFIERS = "anthropic"  # the dialect whose usage names speed, region and tier
_SEVERAL = '"iterations"'  # in the usage of an answer that ran more than one model


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Prices many requests; a card that was settled at is looked for once a day and model."""

    book: PriceBook
    kept: Mapping[str, Kept]
    billed_as: Callable[[str], tuple[str, str]]  # a provider's dialect, and its price list
    met: dict[str, tuple[RateCard, Modifiers]] = field(default_factory=dict)
    """The cards of today that something was priced at, to be kept."""
    _settled: dict[tuple[str, str, str, date], tuple[RateCard | None, Modifiers | None]] = field(default_factory=dict)

    def price(self, entry: Booked) -> Repriced | LeftOut | None:
        """What it costs today; why that cannot be told; None where it cost nothing and never will."""
        if out := _not_priced(entry):
            return out
        if entry.kind != "settled" or not entry.card:
            return "unlike its card" if entry.spent else None
        dialect, prices = self.billed_as(entry.provider)
        card, by_card = self._settled_at(prices, entry)
        if self._is_as_it_was(entry, dialect, prices, by_card):
            return _same(entry)
        reading = reread(dialect, entry.raw_usage, model=entry.model, booked=entry.usage)
        modifiers = _told(dialect, entry, reading) or by_card
        if modifiers is None:
            return "untold"
        parts = _parts(entry, reading)
        if card is not None and by_card is not None and not _follows(entry, card, parts):
            return "unlike its card"
        return self._priced(entry, prices, parts, modifiers)

    def _priced(self, entry: Booked, prices: str, parts: Parts, modifiers: Modifiers) -> Repriced | LeftOut:
        """The dearer of the prices at send and at end, as it was settled."""
        try:
            found = [self._at(prices, parts, modifiers, at) for at in (entry.booked_at, entry.closed_at)]
        except UnknownPrice:
            return "unpriced"
        after, card = max(found, key=lambda each: each[0])
        return replace(_same(entry), after=after, card=card)

    def _at(self, prices: str, parts: Parts, modifiers: Modifiers, at: datetime) -> tuple[Money, str]:
        """Every sampling on its own model's card at one time, rounded up once; the first one's card."""
        cards = [self.book.card(prices, model, at=at, modifiers=modifiers) for model, _ in parts]
        self.met.update((card.id, (card, modifiers)) for card in cards)
        pico = sum(card.pico(usage) for card, (_, usage) in zip(cards, parts, strict=True))
        return Money.from_pico(pico), cards[0].id

    def _settled_at(self, prices: str, entry: Booked) -> tuple[RateCard | None, Modifiers | None]:
        name = (prices, entry.model, entry.card, entry.booked_at.date())
        if name not in self._settled:
            moments = (entry.booked_at, entry.closed_at)
            self._settled[name] = settled_at(self.book, *name[:3], moments, kept=self.kept)
        return self._settled[name]

    def _is_as_it_was(self, entry: Booked, dialect: str, prices: str, by_card: Modifiers | None) -> bool:
        """Whether one model ran, nothing was corrected, and its card is the same today."""
        if by_card is None or entry.corrected or entry.card_now or _SEVERAL in entry.raw_usage:
            return False
        told = modifiers_of(entry.raw_usage) if dialect == TELLS_MODIFIERS and entry.raw_usage else by_card
        moments = dict.fromkeys((entry.booked_at, entry.closed_at))
        try:
            cards = {self.book.card(prices, entry.model, at=at, modifiers=told).id for at in moments}
        except UnknownPrice:
            return False
        return cards == {entry.card}


def _not_priced(entry: Booked) -> LeftOut | None:
    """Money that no price made."""
    if entry.kind == "reconciled":
        return "by word"
    if entry.notional:
        return "by plan"
    return "uncertain" if entry.uncertain else None


def _same(entry: Booked) -> Repriced:
    return Repriced(
        hold=entry.hold,
        at=entry.booked_at,
        model=entry.model,
        before=entry.spent,
        after=entry.spent,
        old_card=entry.card_now or entry.card,
        card=entry.card_now or entry.card,
    )


def _told(dialect: str, entry: Booked, reading: Reading | None) -> Modifiers | None:
    """What the provider said of speed, region and tier, where it says them in its usage."""
    if dialect != TELLS_MODIFIERS or reading is None or '"service_tier"' not in entry.raw_usage:
        return None
    return reading.modifiers


def _parts(entry: Booked, reading: Reading | None) -> Parts:
    """The bill as it was read: each sampling, or the whole with what some price lists bill apart."""
    if reading is None:
        return [(entry.model, entry.usage)]
    if reading.samplings:
        return list(reading.samplings)
    apart = reading.usage.apart if reading.usage is not None else {}
    return [(entry.model, replace(entry.usage, apart=apart))]


def _follows(entry: Booked, card: RateCard, parts: Parts) -> bool:
    """Whether what was booked first is what its card says; of several models only the first one's card is known."""
    if len(parts) > 1:
        return True
    try:
        return card.cost(parts[0][1]) == entry.spent - entry.corrected
    except UnknownPrice:
        return False
