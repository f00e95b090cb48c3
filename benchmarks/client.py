"""The client of the speed bench: raw asyncio, so that what is measured is the other side.

A `Client` keeps one connection open and knows when an answer begins and when it is whole; nothing of the body is
looked at.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one answer took."""

    status: int
    first_byte_s: float
    whole_s: float
    size: int


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request, as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, f"content-length: {len(body)}"]) + "\r\n\r\n").encode() + body


class Client:
    """One connection; `ask` opens it anew where the other side has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: _Connection | None = None

    async def ask(self, sent: bytes) -> Timing:
        """Send a request and read its answer."""
        if self._connection is None or self._connection.transport.is_closing():
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        return await self._connection.ask(sent)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.transport.close()


class _Connection(asyncio.Protocol):
    """Bytes out, one answer in."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._answer: asyncio.Future[Timing] | None = None
        self._head: bytearray | None = None  # None once it is read
        self._tail = b""
        self._size = 0
        self._whole = -1  # size of the whole answer; -1 where it comes in chunks
        self._status = 0
        self._began = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's own classes

    def ask(self, sent: bytes) -> asyncio.Future[Timing]:
        self._head, self._tail, self._size, self._first = bytearray(), b"", 0, 0.0
        self._answer = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self.transport.write(sent)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._first = self._first or time.perf_counter()
        self._size += len(data)
        if self._head is not None:
            self._head += data
            head, end, data = bytes(self._head).partition(b"\r\n\r\n")
            if not end:
                return
            self._read(head)
        self._tail = (self._tail + data[-5:])[-5:]
        if self._tail == END_OF_CHUNKS if self._whole < 0 else self._size >= self._whole:
            self._end()

    def _read(self, head: bytes) -> None:
        self._head = None
        self._status = int(head[9:12])
        found = _LENGTH.search(head)
        self._whole = len(head) + 4 + int(found[1]) if found else -1

    def _end(self) -> None:
        now = time.perf_counter()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Timing(self._status, self._first - self._began, now - self._began, self._size))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the other side hung up"))
