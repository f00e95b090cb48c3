"""A stream on its way to its client: what a slow client, one that takes nothing, and one that is gone change of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from tests.gateway.test_silence import END, START, event, streaming

from crewcap.core.money import ZERO
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.relay import Relay
from crewcap.gateway.provider.watch import Watch
from crewcap.wire.anthropic import Anthropic

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker

    from crewcap.gateway.front.outlet import Outlet

TEXT = event("content_block_delta", delta={"type": "text_delta", "text": "word " * 4_000})
MANY = 600  # of these, 12 MB, are more than any buffer on the way takes


@asynccontextmanager
async def asking(r: Rig) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that reads when it is told to."""
    host, port = r.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    body = json.dumps(r.request(stream=True)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def test_a_slow_client_gets_every_byte_and_its_provider_waits(rig: RigMaker) -> None:
    """Nothing piles up in between: the provider is not read from while the client takes nothing."""

    async def main() -> None:
        async with streaming(START, *[TEXT] * MANY, END) as url, rig(base_url=url) as r, asking(r) as (reader, _):
            await reader.readuntil(b"message_start")
            (exchange,) = r.gateway.service.exchanges
            await r.until(lambda: exchange._clocks is not None and exchange._clocks.writing)
            assert not exchange.over.is_set()
            got = bytearray()
            while not got.endswith(b"\r\n0\r\n\r\n"):
                got += await reader.read(2**20)
            assert got.count(TEXT[-100:]) == MANY
            await r.settled()
            assert r.entries()[0].kind == "settled"

    asyncio.run(main())


def test_a_client_that_takes_nothing_for_too_long_is_dropped_and_the_answer_read_on(rig: RigMaker) -> None:
    """It costs no more than if it had listened."""

    async def main() -> None:
        async with (
            streaming(START, *[TEXT] * MANY, END) as url,
            rig(base_url=url, idle_s=0.2, look_s=0.05) as r,
            asking(r) as (reader, _),
        ):
            await reader.readuntil(b"message_start")
            await r.settled()
            assert r.entries()[0].kind == "settled"
            assert r.entries()[0].spent > ZERO

    asyncio.run(main())


def test_an_answer_that_is_complete_and_has_no_client_is_not_waited_for(rig: RigMaker) -> None:
    """The provider may leave its connection open for as long as it likes."""

    async def main() -> None:
        async with (
            streaming(START, 0.05, TEXT, 0.05, END, 30.0) as url,
            rig(base_url=url, look_s=0.01) as r,
            asking(r) as (reader, writer),
        ):
            await reader.readuntil(b"message_start")
            writer.transport.abort()
            async with asyncio.timeout(5):
                await r.settled()
            assert r.entries()[0].kind == "settled"

    asyncio.run(main())


class Stuck:
    """A client that takes nothing of the end, until it is dropped."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._dropped = asyncio.Event()

    async def close(self, last: bytes) -> None:
        del last
        await self._dropped.wait()
        raise ConnectionResetError

    def expire(self, what: str) -> None:
        self.told.append(what)
        self._dropped.set()


def test_while_the_end_is_sent_it_is_the_client_that_is_waited_for() -> None:
    """Nobody would hang up on it where its provider was thought to be slow."""

    async def main() -> None:
        client = Stuck()
        watch = Watch(Policy(look_s=0.01), idle_s=0.02, expire=client.expire, is_gone=lambda: False)
        meter = Anthropic().meter(stream=True)
        relay = Relay(cast("Outlet", client), meter=meter, sieve=None, watch=watch, priced=lambda _: None)
        async with asyncio.timeout(5):
            await relay.close()
        watch.stop()
        assert relay.is_gone
        assert client.told == ["client"]

    asyncio.run(main())
