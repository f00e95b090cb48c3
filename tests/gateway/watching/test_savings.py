"""Savings seen on the wire: what a conversation kept, what it lost, where its prefix broke and what that cost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.conftest import Rig, says, script
from tests.gateway.ended import KEY, ended, request

from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.savings import FORGOTTEN, CacheTurn
from crewcap.gateway.money.admission import Request
from crewcap.gateway.watching.savings import MOST_EXPLAINED, Savings
from crewcap.stores.sqlite.savings import SqliteCacheTurns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.conftest import RigMaker

MARK = {"type": "ephemeral"}
BEFORE = Usage(input=10, write_5m=40_000, output=50)
READS = Usage(input=10, cache_read=40_000, write_5m=500, output=50)
BROKEN = Usage(input=10, cache_read=2_000, write_5m=39_000, output=50)


class Kept:
    """A store that keeps what it is told; the first writes may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.turns: list[CacheTurn] = []
        self._failures = failures

    def note(self, turns: Sequence[CacheTurn]) -> None:
        if self._failures:
            self._failures -= 1
            raise OSError("disk full")
        self.turns += turns

    def of_run(self, run: str) -> tuple[CacheTurn, ...]:
        return tuple(turn for turn in self.turns if turn.run == run)

    def of_key(self, key: str) -> tuple[CacheTurn, ...]:
        return tuple(turn for turn in self.turns if turn.key == key)


class Watched:
    """Savings without a gateway: bodies are remembered, and the store is written at once."""

    def __init__(self, failures: int = 0) -> None:
        self.store = Kept(failures)
        self.settled: list[bytes] = []
        self.savings = Savings(self.store, do=self._do, bodies=lambda _: self.settled)

    def _do(self, call: Any, *arguments: Any) -> asyncio.Future[Any]:
        async def done() -> Any:
            return call(*arguments)

        return asyncio.ensure_future(done())

    def over(self, body: dict[str, Any], usage: Usage, *, at: float, **changes: Any) -> Request:
        """One request is over at this second."""
        asked = request(body, **changes)
        self.settled.append(asked.body)
        self.savings.ended(ended(asked, usage, over=at))
        return asked

    def turns(self) -> list[CacheTurn]:
        asyncio.run(self.savings.flush())
        return self.store.turns


def talk(system: str = "You are terse.", **fields: Any) -> dict[str, Any]:
    """A conversation that is cached up to its last message."""
    said = {"type": "text", "text": "fix the login", "cache_control": MARK}
    return {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1_000,
        "system": system,
        "messages": [{"role": "user", "content": [said]}],
        **fields,
    }


def test_a_conversation_that_is_read_as_it_was_left_loses_nothing() -> None:
    """The pause is measured from the end of an answer to the next request."""
    seen = Watched()
    seen.over(talk(), BEFORE, at=10.0)
    seen.over(talk(), READS, at=70.5)
    first, second = seen.turns()
    assert (first.gap_ms, first.kept, first.run, first.key) == (None, 0, KEY.run, KEY.id)
    assert (second.gap_ms, second.kept, second.lost, second.broke) == (60_500, 40_000, 0, "")


def test_a_prefix_that_broke_is_named_with_its_cost() -> None:
    """The tokens that were written again, at the difference between writing and reading."""
    seen = Watched()
    seen.over(talk(), BEFORE, at=10.0)
    asked = seen.over(talk("You are tense."), BROKEN, at=20.0)
    turn = seen.turns()[-1]
    rates = next(card for card in asked.cards if card.rates.write_5m == 3_750_000).rates
    assert (turn.lost, turn.broke) == (38_000, "system, character 20")
    assert turn.cost == Money.from_pico(38_000 * (rates.write_5m - rates.cache_read))


def test_a_cache_whose_time_was_over_did_not_break() -> None:
    """Five minutes, or an hour where it was written for one."""
    seen = Watched()
    hour = [{"type": "text", "text": "s", "cache_control": {**MARK, "ttl": "1h"}}]
    for at, body in ((10.0, talk()), (400.0, talk()), (800.0, talk(system=hour)), (1_200.0, talk(system=hour))):  # type: ignore[arg-type]  # blocks
        seen.over(body, BEFORE, at=at)
    assert [bool(turn.lost) for turn in seen.turns()] == [False, False, False, True]


def test_a_provider_that_forgot_is_not_taken_for_a_change() -> None:
    seen = Watched()
    seen.over(talk(), BEFORE, at=10.0)
    seen.over({**talk(), "max_tokens": 5}, BROKEN, at=20.0)
    assert seen.turns()[-1].broke == FORGOTTEN


@pytest.mark.parametrize("change", [{"agent": "sub-1"}, {"key": replace(KEY, run="r2")}, {"model": "claude-haiku-4-5"}])
def test_conversations_of_others_are_not_mixed(change: dict[str, Any]) -> None:
    """Another agent, run or model begins one of its own."""
    seen = Watched()
    seen.over(talk(), BEFORE, at=10.0)
    seen.over(talk("other"), BROKEN, at=20.0, **change)
    assert [turn.gap_ms for turn in seen.turns()] == [None, None]


def test_a_conversation_without_a_cache_leaves_no_row() -> None:
    seen = Watched()
    seen.over(talk(), Usage(input=500, output=5), at=10.0)
    seen.over(talk(), Usage(input=600, output=5), at=20.0)
    assert seen.turns() == []


def test_only_the_first_breaks_of_a_conversation_are_looked_at() -> None:
    """Comparing bodies costs time; what it lost is counted all the same."""
    seen = Watched()
    for number in range(MOST_EXPLAINED + 3):
        seen.over(talk(f"It is {number} o'clock."), BEFORE, at=10.0 + number)
    turns = seen.turns()
    assert all(turn.lost for turn in turns[1:])
    assert [bool(turn.broke) for turn in turns[1:]] == [True] * MOST_EXPLAINED + [False] * 2


def test_what_could_not_be_written_is_written_later() -> None:
    seen = Watched(failures=1)
    seen.over(talk(), BEFORE, at=10.0)
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(seen.savings.flush())
    seen.over(talk(), READS, at=20.0)
    assert [turn.kept for turn in seen.turns()] == [0, 40_000]


async def ask(r: Rig, **fields: Any) -> None:
    text = {"type": "text", "text": "go", "cache_control": MARK}
    body = r.request(stream=True, messages=[{"role": "user", "content": [text]}], **fields)
    assert (await r.post(body))[0] == 200
    await r.settled()


def test_a_gateway_writes_down_what_it_sees(rig: RigMaker) -> None:
    """By the real provider's cache; the rows are there when the gateway has stopped."""

    async def main() -> None:
        async with rig(script(says(100))) as r:
            store = SqliteCacheTurns(r.home)
            r.gateway.watch_caches(store)
            long = "Some rules of the house. " * 1_000
            for system in (f"It is 9:01. {long}", f"It is 9:01. {long}", f"It is 9:02. {long}"):
                await ask(r, system=[{"type": "text", "text": system, "cache_control": MARK}])
            await r.gateway.stop()
            first, second, third = store.of_key(r.key.row.id)
            store.close()
            assert (first.gap_ms, second.lost) == (None, 0)
            assert third.lost == third.kept > 6_000
            assert third.broke == "system, character 19"
            assert Money.usd("0.02") < third.cost < Money.usd("0.03")

    asyncio.run(main())
