"""What a gateway remembers of prices: each card once, in full, and every name that it refused for want of a price."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.conftest import MODEL, says, script
from tests.gateway.ended import NOW, book, ended, request

from crewcap.core.cards import Kept, Unpriced
from crewcap.core.pricing import Modifiers, Usage
from crewcap.gateway.watching.prices import Prices
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores.price_notes import MOST_UNPRICED
from crewcap.stores.sqlite.prices import SqlitePriceNotes

if TYPE_CHECKING:
    from tests.gateway.conftest import RigMaker

USAGE = Usage(input=100, output=50)


class Notebook:
    """A store that keeps what it is told; the first writes may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.cards: list[Kept] = []
        self.found: list[Unpriced] = []
        self._failures = failures

    def keep(self, cards: Sequence[Kept]) -> None:
        self._fail()
        self.cards += cards

    def kept(self) -> Mapping[str, Kept]:
        return {each.card.id: each for each in self.cards}

    def note_unpriced(self, found: Sequence[Unpriced]) -> None:
        self._fail()
        self.found += found

    def unpriced(self) -> tuple[Unpriced, ...]:
        return tuple(self.found)

    def close(self) -> None:
        """Nothing was opened."""

    def _fail(self) -> None:
        if self._failures:
            self._failures -= 1
            raise OSError("disk full")


def watcher(store: Notebook) -> Prices:
    async def at_once(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    return Prices(store, book=book, clock=lambda: NOW, do=lambda *said: asyncio.ensure_future(at_once(*said)))


def over(**told: Any) -> Ended:
    body = {"model": MODEL, "max_tokens": 1_000, "messages": [{"role": "user", "content": "hello"}]}
    return ended(request(body), USAGE, **told)


def refused(model: str) -> Declined:
    message = f"the model {model!r} has no price, so nothing is sent"
    return Declined(
        kind="not_allowed",
        dialect="anthropic",
        key=None,
        run="",
        message=message,
        unpriced=("anthropic", model),
    )


def test_a_card_is_kept_once_with_what_led_to_it() -> None:
    store = Notebook()
    seen = watcher(store)
    for told in ({}, {"modifiers": Modifiers(geo="us")}, {}):
        seen.ended(over(**told))
        asyncio.run(seen.flush())
    plain, us = store.cards
    assert plain == Kept(card=book().card("anthropic", MODEL, at=NOW), modifiers=Modifiers(), book=book().hash, at=NOW)
    assert us.card == book().card("anthropic", MODEL, at=NOW, modifiers=us.modifiers)
    assert us.modifiers == Modifiers(geo="us")


def test_an_answer_that_was_settled_at_another_card_than_was_held_is_found_in_the_book() -> None:
    store = Notebook()
    seen = watcher(store)
    seen.ended(over(model="claude-opus-4-5"))
    asyncio.run(seen.flush())
    assert [each.card.model for each in store.cards] == ["claude-opus-4-5"]


def test_what_settled_at_no_card_is_no_card() -> None:
    store = Notebook()
    seen = watcher(store)
    seen.ended(replace(over(), closed=replace(over().closed, card="")))
    seen.ended(replace(over(), closed=replace(over().closed, card="nobody knows it")))
    asyncio.run(seen.flush())
    assert store.cards == []


def test_refused_names_are_added_up() -> None:
    store = Notebook()
    seen = watcher(store)
    for model in ("claude-nova", "claude-nova", "x" * 1_000):
        seen.declined(refused(model))
    seen.declined(replace(refused("claude-nova"), unpriced=None))
    asyncio.run(seen.flush())
    assert [(each.model, each.requests) for each in store.found] == [("claude-nova", 2), ("x" * 200, 1)]
    asyncio.run(seen.flush())
    assert len(store.found) == 2


def test_no_client_fills_the_memory_with_names() -> None:
    store = Notebook()
    seen = watcher(store)
    for number in range(MOST_UNPRICED + 50):
        seen.declined(refused(f"model-{number}"))
    asyncio.run(seen.flush())
    assert len(store.found) == MOST_UNPRICED


def test_what_could_not_be_written_is_written_later() -> None:
    store = Notebook(failures=1)
    seen = watcher(store)
    seen.ended(over())
    seen.declined(refused("claude-nova"))
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(seen.flush())
    seen.declined(refused("claude-nova"))
    asyncio.run(seen.flush())
    assert len(store.cards) == 1
    assert [(each.model, each.requests) for each in store.found] == [("claude-nova", 2)]


def test_a_gateway_keeps_the_cards_that_it_settles_at_and_the_names_that_it_refuses(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(script(says(100))) as r:
            store = SqlitePriceNotes(r.home)
            r.gateway.watch_prices(store)
            assert (await r.post(r.request()))[0] == 200
            assert (await r.post(r.request(model="claude-nova-9")))[0] == 400
            await r.settled()
            await r.gateway.stop()
            (entry,) = r.ledger.entries()
            assert list(store.kept()) == [entry.card]
            assert store.kept()[entry.card].card.cost(entry.usage) == entry.spent
            (name,) = store.unpriced()
            assert (name.provider, name.model, name.requests) == ("anthropic", "claude-nova-9", 1)
            assert "has no price" in name.message
            store.close()

    asyncio.run(main())
