"""The body of an answer, handed on in the very call of the event loop that brought its bytes.

A task that reads a stream is woken for each chunk: a future, a turn of the loop, a coroutine, again and again, for
sixty lines of text. None of that reads or decides anything. So for as long as one body takes, a tap stands between
the connection and aiohttp's own protocol: what comes in goes through aiohttp's parser as ever, and what the parser
made of it goes on at once. The task that waits for the end is woken once, at the end.

Everything else stays the library's: framing, encodings, what is an error, and whether the connection may be used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

Take = Callable[[bytes], bool]
"""Takes a chunk; says whether more is wanted."""


class Tap(asyncio.Protocol):
    """One body on its way; `flow` is called once."""

    def __init__(self, answer: aiohttp.ClientResponse, take: Take) -> None:
        connection = answer.connection  # none where the whole body has come with the head
        self._content = answer.content
        self._take = take
        self._handler = connection.protocol if connection is not None else None
        self._transport = connection.transport if connection is not None else None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_paused = False

    async def flow(self) -> None:
        """Until the body's end, or nothing more is wanted; raises what reading it would raise."""
        self.look()
        if self._transport is not None:
            self._transport.set_protocol(self)
        try:
            await self._over
        finally:
            self._step_aside()

    def pause(self) -> None:
        """Let nothing come for now; whoever sends is told so by the full line."""
        if self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._handler is not None:
            self._handler.data_received(data)
            self.look()

    def eof_received(self) -> None:
        """The other side will send nothing more."""
        if self._handler is not None:
            self._handler.eof_received()
            self.look()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; where the body ends with it, that is its end."""
        if self._handler is not None:
            self._handler.connection_lost(exc)
        self.look()
        if not self._over.done():
            self._over.set_exception(exc or ConnectionResetError("the connection is gone"))

    def pause_writing(self) -> None:
        """A request may still be on its way out."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It may go on."""
        if self._handler is not None:
            self._handler.resume_writing()

    def look(self) -> None:
        """Hand on what the parser has made of it so far, or end where the answer was closed meanwhile."""
        if self._over.done():
            return
        try:
            chunk = self._content.read_nowait()
            is_enough = bool(chunk) and not self._take(chunk)
        except Exception as error:  # noqa: BLE001  (it is raised again where the end is waited for)
            self._end(error)
        else:
            if is_enough or self._content.is_eof():
                self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._step_aside()
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def _step_aside(self) -> None:
        """The connection is the library's again, before it is given to the next request."""
        self.resume()
        if self._transport is not None and self._handler is not None:
            self._transport.set_protocol(self._handler)
        self._transport = self._handler = None
