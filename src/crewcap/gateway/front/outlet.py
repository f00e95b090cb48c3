"""The way of a stream to its client: chunks are written to the connection at once, framed here.

The head of the answer and its end are aiohttp's, each sent together with the chunk beside it. Between them its
writer would be a coroutine for each chunk, which waits for nothing as long as the client takes what it is sent; whether
it does is what `write` answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter

from crewcap.gateway.front.protocol import Protocol


class Outlet:
    """One answer that is sent in chunks."""

    def __init__(self, http: web.BaseRequest, response: web.StreamResponse) -> None:
        self._http = http
        self._protocol = cast("Protocol", http.protocol)  # as `Server` makes them
        self._response = response
        self._is_chunked = http.version >= HttpVersion11  # to older clients the end of the connection is the end

    async def open(self, first: bytes) -> bool:
        """Send the head and a first chunk, which may be empty; all else as `write`."""
        await self._prepare()
        await cast("StreamWriter", self._http.writer).write(first, drain=False)
        return not self._protocol.is_full

    def write(self, chunk: bytes) -> bool:
        """Send a chunk that is not empty; whether there is room for more. Raises `OSError` where the client is gone."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._is_chunked else chunk)
        return not self._protocol.is_full

    def when_roomy(self, say: Callable[[], None]) -> None:
        """Say so, once, when the client takes it again, or is gone."""
        self._protocol.when_roomy(say)

    async def close(self, last: bytes) -> None:
        """A last chunk, which may be empty, and the proper end; raises `OSError` where the client is gone."""
        await self._prepare()
        await self._response.write_eof(last)

    async def _prepare(self) -> None:
        """The head, which goes out with what is written next."""
        if self._response.prepared:
            return
        if self._is_chunked:
            self._response.enable_chunked_encoding()
        await self._response.prepare(self._http)


class Stream(web.StreamResponse):
    """An answer in chunks whose head waits for the first of them."""

    _send_headers_immediately = False


def has_left(http: web.BaseRequest) -> bool:
    """Whether the client's connection is gone."""
    return http.transport is None or http.transport.is_closing()
