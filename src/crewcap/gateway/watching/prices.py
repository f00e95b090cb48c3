"""What a gateway remembers of prices: the card of each settlement in full, and what it refused for want of one.

A card is written once, a moment after the first request that this gateway settled at it; all others find its id among
those that are known and do nothing. Refused names are added up and written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from crewcap.core.cards import Kept, Unpriced, settled_at
from crewcap.core.pricing import Modifiers, PriceBook
from crewcap.gateway.money.ends import Sent
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores import Settlement
from crewcap.stores.price_notes import MOST_UNPRICED, PriceNotes

FLUSH_S = 1.0
LONGEST_NAME = 200

Do = Callable[..., "asyncio.Future[Any]"]


class Prices:
    """A watcher of requests."""

    def __init__(
        self, store: PriceNotes, *, book: Callable[[], PriceBook], clock: Callable[[], datetime], do: Do
    ) -> None:
        self._store = store
        self._book = book  # as it is now: prices are read again while a gateway runs
        self._clock = clock
        self._do = do
        self._known: set[str] = set()
        self._cards: list[Kept] = []  # that are not written yet
        self._unpriced: dict[tuple[str, str], Unpriced] = {}

    def ended(self, ended: Ended) -> None:
        """A request's attempt is over."""
        self.booked(ended.sent, ended.closed, ended.reading.modifiers)

    def booked(self, sent: Sent, closed: Settlement, modifiers: Modifiers) -> None:
        """Keep a card that is new to this gateway: of a request's attempt, or of an item of a batch."""
        if closed.card and closed.card not in self._known:
            self._known.add(closed.card)
            self._cards += self._found(sent, closed, modifiers)

    def declined(self, declined: Declined) -> None:
        """Count what had no price."""
        if declined.unpriced is None:
            return
        provider, model = declined.unpriced
        name = (provider[:LONGEST_NAME], model[:LONGEST_NAME])
        before = self._unpriced.get(name)
        if before is None and len(self._unpriced) >= MOST_UNPRICED:
            return
        now = Unpriced(
            provider=name[0], model=name[1], requests=1, last_at=self._clock(), message=declined.message[:500]
        )
        self._unpriced[name] = now if before is None else replace(now, requests=before.requests + 1)

    async def flush(self) -> None:
        """Write both; what cannot be written is tried again."""
        cards, self._cards = self._cards, []
        unpriced, self._unpriced = self._unpriced, {}
        try:
            if cards:
                await self._do(self._store.keep, cards)
                cards = []
            if unpriced:
                await self._do(self._store.note_unpriced, tuple(unpriced.values()))
        except BaseException:
            self._cards = [*cards, *self._cards]
            for name, before in unpriced.items():
                later = self._unpriced.get(name)
                self._unpriced[name] = (
                    before if later is None else replace(later, requests=later.requests + before.requests)
                )
            raise

    def _found(self, sent: Sent, closed: Settlement, modifiers: Modifiers) -> list[Kept]:
        """One of those that were held at; of an answer that was priced otherwise, the one in the book."""
        now = self._clock()
        card = next((each for each in sent.cards if each.id == closed.card), None)
        if card is None:
            model = closed.model or sent.model
            card, known = settled_at(self._book(), sent.prices, model, closed.card, (sent.sent_at, now))
            card = card if known is not None else None
        return [Kept(card=card, modifiers=modifiers, book=self._book().hash, at=now)] if card is not None else []
