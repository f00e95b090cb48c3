"""A provider that plays one recorded answer again, whole or cut after any byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from crewcap.core.money import ZERO, Money
from crewcap.simulator.server import Simulator
from torture.talk import Talk


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An answer as it went over the wire, head and all, and what the provider billed for it."""

    wire: bytes
    head: int  # bytes of it before the body
    cost: Money


async def record(simulator: Simulator, talk: Talk, *, text: str) -> Recording:
    """Ask the scripted provider once, and write its answer down with the framing of HTTP/1.1."""
    path, body = talk.request(stream=True, text=text)
    if talk.name == "openai-chat":
        body["stream_options"] = {"include_usage": True}  # as the gateway asks
    key = f"sk-fake-recording-{talk.name}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(simulator.url + path, json=body, headers=talk.headers(key)) as answer,
    ):
        content = await answer.read()
        if answer.status != 200:
            raise ValueError(f"{talk.name}: the provider answered {answer.status}: {content[:300]!r}")
    lines = (f"HTTP/1.1 200 OK\r\ncontent-type: {answer.content_type}\r\ntransfer-encoding: chunked\r\n\r\n").encode()
    pieces = [content[at : at + 97] for at in range(0, len(content), 97)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    cost = simulator.meter.by_key.get(key, ZERO)
    return Recording(wire=lines + chunks + b"0\r\n\r\n", head=len(lines), cost=cost)


@dataclass(slots=True)
class Player:
    """Plays a recording; `cut` is after how many bytes the connection is gone, None = never."""

    recording: Recording
    cut: int | None = None
    url: str = ""
    asked: int = field(default=0)  # requests that came in whole: each of them is billed

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Player]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._read(reader):
                self.asked += 1
                writer.write(self.recording.wire[: self.cut])
                await writer.drain()
                if self.cut is not None:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(lengths[0].partition(b":")[2]))
        return True
