"""What prompts are made of, as a gateway sees them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.conftest import says, script
from tests.gateway.ended import ended, request

from crewcap.core.makeup import Makeup, MakeupRow
from crewcap.core.pricing import Usage
from crewcap.gateway.watching import makeups
from crewcap.gateway.watching.makeups import Makeups
from crewcap.stores.sqlite.reports import SqliteReports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.conftest import RigMaker


class Kept:
    """A store that keeps what it is told; the first writes may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.rows: list[MakeupRow] = []
        self._failures = failures

    def note_makeup(self, rows: Sequence[MakeupRow]) -> None:
        if self._failures:
            self._failures -= 1
            raise OSError("disk full")
        self.rows += rows


def watch(store: Kept) -> Makeups:
    async def at_once(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    return Makeups(store, do=lambda *words: asyncio.ensure_future(at_once(*words)))  # type: ignore[arg-type]  # one call of it


BODY = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "system": "s" * 300,
    "messages": [{"role": "user", "content": "p" * 100}],
}


def test_tokens_that_were_billed_are_shared_out_by_letters() -> None:
    store = Kept()
    seen = watch(store)
    for _ in range(2):
        seen.ended(ended(request(BODY), usage=Usage(input=100, cache_read=300, output=9)))
    asyncio.run(seen.flush())
    (row,) = store.rows
    assert (row.requests, row.tokens) == (2, Makeup(instructions=600, prompts=200))


def test_what_could_not_be_written_is_written_later_and_once() -> None:
    store = Kept(failures=1)
    seen = watch(store)
    seen.ended(ended(request(BODY), usage=Usage(input=400)))
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(seen.flush())
    seen.ended(ended(request(BODY), usage=Usage(input=400)))
    asyncio.run(seen.flush())
    asyncio.run(seen.flush())
    assert sum(row.tokens.whole for row in store.rows) == 800


def test_what_there_is_no_room_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of large bodies costs a bounded memory."""
    monkeypatch.setattr(makeups, "MOST_BYTES", len(json.dumps(BODY)) + 5)
    store = Kept()
    seen = watch(store)
    for _ in range(3):
        seen.ended(ended(request(BODY), usage=Usage(input=4)))
    asyncio.run(seen.flush())
    assert sum(row.requests for row in store.rows) == 1


def test_many_bodies_are_counted_at_once_and_written_with_their_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are large; once they are counted there is room for others."""
    two = [ended(request(BODY), usage=Usage(input=400)) for _ in range(2)]
    size = sum(len(each.request.body) for each in two)
    monkeypatch.setattr(makeups, "MANY_BYTES", size)
    monkeypatch.setattr(makeups, "MOST_BYTES", size)

    async def main() -> None:
        store = Kept()
        seen = watch(store)
        counting = asyncio.create_task(seen.relieve())
        seen.ended(two[0])
        await asyncio.sleep(0)
        assert not counting.done()
        seen.ended(two[1])
        await counting
        assert store.rows == []
        seen.ended(two[0])
        await seen.flush()
        assert [(row.requests, row.tokens.whole) for row in store.rows] == [(3, 1_200)]

    asyncio.run(main())


def test_what_is_counted_as_the_gateway_ends_is_counted_by_its_last_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makeups, "MANY_BYTES", 1)

    async def main() -> None:
        store = Kept()
        seen = watch(store)
        seen.ended(ended(request(BODY), usage=Usage(input=400)))
        counting = asyncio.create_task(seen.relieve())
        await asyncio.sleep(0)
        counting.cancel()
        await asyncio.wait([counting])
        assert counting.cancelled()
        await seen.flush()
        assert sum(row.tokens.whole for row in store.rows) == 400

    asyncio.run(main())


@pytest.mark.parametrize("many", [1, makeups.MANY_BYTES])
def test_a_gateway_writes_down_what_it_sees(rig: RigMaker, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """The parts together are the prompt that was billed; they are there when the gateway has stopped."""
    monkeypatch.setattr(makeups, "MANY_BYTES", many)

    async def main() -> None:
        async with rig(script(says(100))) as r:
            store = SqliteReports(r.home)
            r.gateway.watch_prompts(store)
            assert (await r.post(r.request(stream=True, system="rules " * 400)))[0] == 200
            await r.settled()
            (entry,) = r.ledger.entries()
            await r.gateway.stop()
            (found,) = store.makeup().values()
            store.close()
            assert found.whole == entry.usage.prompt
            assert found.instructions > found.prompts > 0

    asyncio.run(main())
