"""A line to a provider: one request after the other, over real connections on loopback, plain and with TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import uvloop
from yarl import URL

from crewcap.gateway.provider.framing import BadFraming
from crewcap.gateway.provider.line import Answer, request_head
from crewcap.gateway.provider.lines import Lines

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
Run = Callable[[Coroutine[object, object, None]], None]


@dataclass
class Site:
    """A provider that says the same to every request, and lines to it."""

    url: URL
    lines: Lines
    opened: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def ask(self, body: bytes = b"{}", **headers: str) -> Answer:
        line = await self.lines.get(self.url)
        answer = await line.ask(request_head("/v1", "x", headers, len(body)), body)
        return answer.then(lambda line: self.lines.put(self.url, line))


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """The library's event loop, and the one that gateways run on."""
    found: Run = request.param
    return found


@asynccontextmanager
async def site(
    *parts: bytes | float,
    close: bool = False,
    kept_s: float = 10,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[Site]:
    """Each request is answered by these bytes, with a pause where a number stands."""
    here: Site

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.opened.append(1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                here.bodies.append(await reader.readexactly(size))
                for part in parts:
                    if isinstance(part, bytes):
                        writer.write(part)
                        await writer.drain()
                    else:
                        await asyncio.sleep(part)
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls[0] if tls else None)
    connector = aiohttp.TCPConnector(limit=0, ssl=tls[1] if tls else True)
    lines = Lines(connector, connect_s=5, kept_s=kept_s)
    port = server.sockets[0].getsockname()[1]
    here = Site(URL(f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"), lines)
    try:
        async with asyncio.timeout(20):
            yield here
    finally:
        lines.close()
        await connector.close()
        server.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_an_answer_is_its_status_its_headers_and_its_body(run: Run) -> None:
    async def main() -> None:
        async with site(
            b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED, chunk(b"one "), 0.01, chunk(b"two"), b"0\r\n\r\n"
        ) as s:
            async with await s.ask(b"asked", **{"x-a": "b"}) as answer:
                assert (answer.status, answer.content_type) == (200, "text/event-stream")
                assert answer.headers["Transfer-Encoding"] == "chunked"
                assert await answer.read() == b"one two"
            assert s.bodies == [b"asked"]

    run(main())


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"content-length: 2\r\n\r\nok",
        CHUNKED + chunk(b"ok") + b"0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        HEAD + b"content-length: 0\r\n\r\n",
    ],
)
def test_a_line_is_used_again_after_an_answer_that_was_read(run: Run, said: bytes) -> None:
    async def main() -> None:
        async with site(said) as s:
            for _ in range(3):
                async with await s.ask() as answer:
                    await answer.read()
            assert len(s.opened) == 1
            assert len(s.bodies) == 3

    run(main())


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"content-length: 2\r\nconnection: close\r\n\r\nok",
        HEAD + b"content-length: 2\r\n\r\nok and more",
        CHUNKED + chunk(b"ok"),  # not read to its end
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_line_is_not_used_again_where_nobody_knows_what_comes_next(run: Run, said: bytes) -> None:
    async def main() -> None:
        async with site(said) as s:
            for _ in range(2):
                async with await s.ask() as answer:
                    assert await answer.readany() == b"ok"
            assert len(s.opened) == 2

    run(main())


def test_a_line_that_was_free_for_too_long_is_closed(run: Run) -> None:
    async def main() -> None:
        async with site(HEAD + b"content-length: 2\r\n\r\nok", kept_s=0.02) as s:
            async with await s.ask() as answer:
                await answer.read()
            line = await s.lines.get(s.url)
            assert line.is_open
            s.lines.put(s.url, line)
            while line.is_open:  # noqa: ASYNC110  (the loop's own timer closes it)
                await asyncio.sleep(0.005)
            async with await s.ask() as answer:
                await answer.read()
            assert len(s.opened) == 2

    run(main())


def test_chunks_go_on_as_they_come_until_nothing_more_is_wanted(run: Run) -> None:
    async def main() -> None:
        seen: list[bytes] = []

        def take(data: bytes) -> bool:
            seen.append(data)
            return data != b"two"

        async with site(CHUNKED, chunk(b"one"), 0.02, chunk(b"two"), 0.02, chunk(b"three")) as s:
            async with await s.ask() as answer:
                await answer.flow(take)
            assert b"".join(seen) == b"onetwo"

    run(main())


def test_an_error_of_who_takes_the_chunks_is_raised_where_the_end_is_waited_for(run: Run) -> None:
    async def main() -> None:
        def take(data: bytes) -> bool:
            raise LookupError(data)

        async with site(CHUNKED, 0.01, chunk(b"one"), 0.02, b"0\r\n\r\n") as s, await s.ask() as answer:
            with pytest.raises(LookupError):
                await answer.flow(take)

    run(main())


@pytest.mark.parametrize("pause", [(), (0.02,)], ids=["at once", "later"])
def test_what_comes_with_the_end_is_handed_over_at_the_end(run: Run, pause: tuple[float, ...]) -> None:
    """So that whoever sends it on can send it with an end of their own."""

    async def main() -> None:
        seen: list[bytes] = []

        def take(data: bytes) -> bool:
            seen.append(data)
            return True

        async with site(CHUNKED + chunk(b"one"), *pause, chunk(b"two") + b"0\r\n\r\n") as s:
            async with await s.ask() as answer:
                last = await answer.flow(take)
                assert answer.is_over
            assert b"".join([*seen, last]) == b"onetwo"
            assert last.endswith(b"two")

    run(main())


def test_a_pause_lets_nothing_come_and_ends_with_the_answer(run: Run) -> None:
    """A line that stayed paused would hang with its next request."""

    async def main() -> None:
        async with site(CHUNKED + chunk(b"one"), 0.01, b"0\r\n\r\n") as s:
            for _ in range(2):
                async with await s.ask() as answer:
                    answer.pause()
                    asyncio.get_running_loop().call_later(0.03, answer.resume)
                    assert await answer.read() == b"one"
                    answer.pause()
            assert len(s.opened) == 1

    run(main())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
        b"HTTP/1.1 101 Go\r\nupgrade: x\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    ],
)
def test_what_is_no_answer_is_an_error_and_the_line_is_closed(run: Run, said: bytes) -> None:
    async def main() -> None:
        async with site(said, close=True) as s:
            with pytest.raises(ConnectionError):
                await s.ask()

    run(main())


@pytest.mark.parametrize(
    "body", [CHUNKED + chunk(b"one"), HEAD + b"content-length: 9\r\n\r\none", CHUNKED + b"x\r\n\r\n"]
)
def test_a_body_that_is_cut_or_framed_badly_is_an_error(run: Run, body: bytes) -> None:
    async def main() -> None:
        async with site(body, close=True) as s, await s.ask() as answer:
            with pytest.raises((BadFraming, ConnectionError)):
                await answer.read()

    run(main())


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_body_without_a_length_is_whole_only_where_its_connection_ends_well(run: Run, *, is_reset: bool) -> None:
    """A provider that is killed in the middle has not come to its end."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(HEAD + b"\r\none")
            await writer.drain()
            await asyncio.sleep(0.02)
            if is_reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connector = aiohttp.TCPConnector(limit=0)
        here = Site(
            URL("http://{}:{}/v1".format(*server.sockets[0].getsockname())), Lines(connector, connect_s=5, kept_s=1)
        )
        async with asyncio.timeout(20), await here.ask() as answer:
            if is_reset:
                with pytest.raises(ConnectionResetError):
                    await answer.read()
            else:
                assert await answer.read() == b"one"
        await connector.close()
        server.close()

    run(main())


def test_an_answer_that_is_closed_here_tells_who_reads_it_at_once(run: Run) -> None:
    async def main() -> None:
        async with site(CHUNKED, chunk(b"one"), 5.0) as s, await s.ask() as answer:
            asyncio.get_running_loop().call_later(0.01, answer.close)
            with pytest.raises(ConnectionResetError):
                await answer.read()

    run(main())


def test_a_large_request_goes_out_in_pieces_as_fast_as_it_is_taken(run: Run) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 2**15
        async with site(HEAD + b"content-length: 2\r\n\r\nok") as s:
            async with await s.ask(body) as answer:
                assert await answer.read() == b"ok"
            assert s.bodies == [body]

    run(main())


def test_a_line_that_is_free_keeps_nothing_of_the_request_before(run: Run) -> None:
    """Bodies are large, and lines are kept."""

    async def main() -> None:
        body = bytes(2**18)
        async with site(HEAD + b"content-length: 2\r\n\r\nok") as s:
            before = sys.getrefcount(body)
            async with await s.ask(body) as answer:
                await answer.read()
            del answer
            assert sys.getrefcount(body) == before

    run(main())


def test_a_line_whose_request_is_given_up_is_closed(run: Run) -> None:
    async def main() -> None:
        async with site(5.0) as s:
            line = await s.lines.get(s.url)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await line.ask(request_head("/v1", "x", {}, 2), b"{}")
            assert not line.is_open

    run(main())


def test_a_header_can_hold_no_other_header() -> None:
    with pytest.raises(ValueError, match="control"):
        request_head("/v1", "x", {"user-agent": "a\r\nx-api-key: b"}, 0)


def test_the_other_side_of_a_tls_line_must_be_who_it_says(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs, strangers = contexts(tmp_path)
        said = CHUNKED + chunk(b"one") + b"0\r\n\r\n"
        async with site(said, tls=(theirs, ours)) as s:
            for _ in range(2):
                async with await s.ask() as answer:
                    assert await answer.read() == b"one"
            assert len(s.opened) == 1
        async with site(said, tls=(theirs, strangers)) as s:
            with pytest.raises(aiohttp.ClientConnectorError):
                await s.ask()

    run(main())


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
    """A client that trusts a server's certificate, that server, and a client that does not."""
    from cryptography import x509  # noqa: PLC0415  (heavy, and for one test)
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return ssl.create_default_context(cafile=str(pem)), server, ssl.create_default_context()
