"""Carrying bytes between two connections: heads within a bound and a time, bodies as they say, tunnels until idle."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Literal

from crewcap.workspaces.egress.http import LARGEST_HEAD, Malformed

_PIECE = 1 << 16
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~]*)?\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a phase's way out may use."""

    connections: int = 96  # at the same time; each needs two descriptors of ours, more of them wait
    head_s: float = 10.0  # a request, or a TLS greeting
    resolve_s: float = 10.0
    connect_s: float = 10.0  # to each address
    idle_s: float = 300.0
    bytes_out: int = 1 << 30  # of the whole phase: requests are small, and data that leaves is not
    bytes_in: int = 64 << 30


class Cut(Exception):
    """A connection went over a bound; the text says which."""


@dataclass(slots=True)
class Carried:
    """What went through: of one connection, and what the whole phase has left."""

    out: int = 0
    into: int = 0


@dataclass(slots=True)
class Meter:
    """Counts what a phase carries."""

    bounds: Bounds
    total: Carried

    def count(self, connection: Carried, *, out: int = 0, into: int = 0) -> None:
        """More was carried; `Cut` when it is too much."""
        connection.out += out
        connection.into += into
        self.total.out += out
        self.total.into += into
        if self.total.out > self.bounds.bytes_out:
            raise Cut(f"cut: more than {self.bounds.bytes_out >> 20} MiB went out of this phase")
        if self.total.into > self.bounds.bytes_in:
            raise Cut(f"cut: more than {self.bounds.bytes_in >> 30} GiB came into this phase")

    def counters(
        self, connection: Carried, limit: asyncio.Timeout
    ) -> tuple[Callable[[int], None], Callable[[int], None]]:
        """What to call for bytes that go out and that come in; each call also says that something still moves."""
        loop = asyncio.get_running_loop()

        def sent(size: int) -> None:
            limit.reschedule(loop.time() + self.bounds.idle_s)
            self.count(connection, out=size)

        def got(size: int) -> None:
            limit.reschedule(loop.time() + self.bounds.idle_s)
            self.count(connection, into=size)

        return sent, got


@dataclass(slots=True)
class Stream:
    """A connection's two directions."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other end is behind."""
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """Hang up; what is unsent has a moment to go."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()

    def abort(self) -> None:
        """Hang up at once."""
        self.writer.transport.abort()


async def connect(
    endpoints: Sequence[tuple[str, int]], *, each_s: float, tls: tuple[ssl.SSLContext, str] | None = None
) -> Stream:
    """A connection to the first of these that answers, to nothing else; `tls` says whom to expect there."""
    trouble: OSError = OSError("no address")
    context, name = tls or (None, None)
    for address, port in endpoints:
        try:
            async with asyncio.timeout(each_s):
                opened = asyncio.open_connection(address, port, limit=LARGEST_HEAD, ssl=context, server_hostname=name)
                return Stream(*await opened)
        except OSError as error:  # a time-out is one
            trouble = error
    raise trouble


async def read_head(reader: asyncio.StreamReader, *, within_s: float) -> bytes:
    """A head with its empty line; empty where the other end hung up before it began."""
    try:
        async with asyncio.timeout(within_s):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Malformed("the request ends in its head") from None
        return b""
    except asyncio.LimitOverrunError:
        raise Malformed(f"the head is longer than {LARGEST_HEAD >> 10} KiB") from None


async def carry_body(
    framing: int | Literal["chunked"] | None, source: asyncio.StreamReader, sink: Stream, counted: Callable[[int], None]
) -> None:
    """A body as its head said it; None = until the other end hangs up."""
    if framing == "chunked":
        await _carry_chunks(source, sink, counted)
    elif framing is None:
        while piece := await source.read(_PIECE):
            counted(len(piece))
            await sink.send(piece)
    else:
        await _carry(framing, source, sink, counted)


async def _carry(size: int, source: asyncio.StreamReader, sink: Stream, counted: Callable[[int], None]) -> None:
    while size:
        piece = await source.read(min(size, _PIECE))
        if not piece:
            raise ConnectionResetError("the message ends early")
        size -= len(piece)
        counted(len(piece))
        await sink.send(piece)


async def _carry_chunks(source: asyncio.StreamReader, sink: Stream, counted: Callable[[int], None]) -> None:
    """Chunks, their sizes written anew; what follows the last one is dropped."""
    while size := await _chunk_size(source):
        await sink.send(b"%x\r\n" % size)
        await _carry(size, source, sink, counted)
        if await source.readexactly(2) != b"\r\n":
            raise Malformed("a chunk is broken")
        await sink.send(b"\r\n")
    trailers = 0
    while (line := await source.readuntil(b"\r\n")) != b"\r\n":
        trailers += len(line)
        if trailers > LARGEST_HEAD:
            raise Malformed("the message never ends")
    await sink.send(b"0\r\n\r\n")


async def _chunk_size(source: asyncio.StreamReader) -> int:
    try:
        line = await source.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed("a chunk is broken") from None
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise Malformed("a chunk is broken")
    return int(match[1], 16)


async def tunnel(client: Stream, server: Stream, carried: Carried, meter: Meter) -> None:
    """Both directions, until both are at their end or nothing has moved for too long."""
    async with asyncio.timeout(meter.bounds.idle_s) as limit:
        outward, inward = meter.counters(carried, limit)
        await _both(_pump(client.reader, server, outward), _pump(server.reader, client, inward))


async def _pump(source: asyncio.StreamReader, sink: Stream, counted: Callable[[int], None]) -> None:
    while piece := await source.read(_PIECE):
        counted(len(piece))
        await sink.send(piece)
    with contextlib.suppress(OSError, NotImplementedError):
        sink.writer.write_eof()


async def _both(*pumps: Coroutine[None, None, None]) -> None:
    """All of them; the first that fails ends the others, with its own error."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
