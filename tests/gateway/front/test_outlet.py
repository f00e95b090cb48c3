"""A stream to a client: framed here, written at once, and nobody is told that it is over who was cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import web

from crewcap.gateway.front.outlet import Outlet, Stream, has_left
from crewcap.gateway.front.protocol import Server

Run = Callable[[Coroutine[object, object, None]], None]
Play = Callable[[Outlet, web.BaseRequest], Awaitable[None]]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """The library's event loop, and the one that gateways run on."""
    found: Run = request.param
    return found


@asynccontextmanager
async def asked(
    play: Play, *, version: str = "1.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of plain sockets, whose request is answered by `play`."""

    async def handle(http: web.BaseRequest) -> web.StreamResponse:
        response = Stream(headers={"content-type": "text/event-stream"})
        await play(Outlet(http, response), http)
        return response

    runner = web.ServerRunner(Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(f"GET / HTTP/{version}\r\nhost: x\r\n\r\n".encode())
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.transport.abort()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("version", "body"), [("1.1", b"3\r\none\r\n1f\r\n" + b"x" * 31 + b"\r\n0\r\n\r\n"), ("1.0", b"one" + b"x" * 31)]
)
def test_chunks_are_framed_where_the_client_can_read_that(run: Run, version: str, body: bytes) -> None:
    async def main() -> None:
        async def play(outlet: Outlet, http: web.BaseRequest) -> None:
            del http
            await outlet.open(b"")
            outlet.write(b"one")
            outlet.write(b"x" * 31)
            await outlet.close(b"")

        async with asked(play, version=version) as (reader, _):
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"chunked" in head.lower()) == (version == "1.1")
            assert await reader.readexactly(len(body)) == body
            if version == "1.0":
                assert await reader.read() == b""

    run(main())


@pytest.mark.parametrize(("version", "body"), [("1.1", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), ("1.0", b"onetwo")])
def test_head_and_first_chunk_are_one_write_and_so_are_last_chunk_and_end(run: Run, version: str, body: bytes) -> None:
    async def main() -> None:
        async def play(outlet: Outlet, http: web.BaseRequest) -> None:
            del http
            assert await outlet.open(b"one")
            await outlet.close(b"two")

        async with asked(play, version=version) as (reader, _):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.")
            assert await reader.readexactly(len(body)) == body

    run(main())


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_that_is_whole_already_is_sent_with_its_head(run: Run, version: str) -> None:
    async def main() -> None:
        async def play(outlet: Outlet, http: web.BaseRequest) -> None:
            del http
            await outlet.close(b"all of it")

        async with asked(play, version=version) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            body = b"9\r\nall of it\r\n0\r\n\r\n" if version == "1.1" else b"all of it"
            assert await reader.readexactly(len(body)) == body

    run(main())


def test_a_client_that_takes_nothing_is_seen_and_so_is_that_it_takes_again(run: Run) -> None:
    async def main() -> None:
        full, roomy = asyncio.Event(), asyncio.Event()

        async def play(outlet: Outlet, http: web.BaseRequest) -> None:
            del http
            await outlet.open(b"")
            while outlet.write(b"x" * 2**16):
                pass
            outlet.when_roomy(roomy.set)
            full.set()
            await roomy.wait()
            assert outlet.write(b"x")
            await outlet.close(b"")

        async with asked(play) as (reader, _):
            await full.wait()
            assert not roomy.is_set()
            while not (await reader.read(2**20)).endswith(b"0\r\n\r\n"):
                pass
            assert roomy.is_set()

    run(main())


def test_a_client_that_leaves_is_an_error_at_the_next_chunk(run: Run) -> None:
    """Whoever waits for it to take something is told as well."""

    async def main() -> None:
        opened, over, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def play(outlet: Outlet, http: web.BaseRequest) -> None:
            await outlet.open(b"")
            outlet.when_roomy(told.set)
            opened.set()
            await told.wait()
            assert has_left(http)
            with pytest.raises(OSError, match="gone"):
                outlet.write(b"more")
            over.set()

        async with asked(play) as (_, writer):
            await opened.wait()
            writer.transport.abort()
            await over.wait()

    run(main())
