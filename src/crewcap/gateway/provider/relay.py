"""One stream on its way from the provider to the client: each chunk is read by the meter and written on at once.

A chunk causes no task, no timer and no waiting: the call of the event loop that brings it meters it and writes it
(`Line`, `Outlet`). What happens beside that is rare, and happens here:

    the client is slow   nothing more is read from the provider until the client has taken what there is
    the client is gone   the answer is read on for the books, until it is complete
    nothing comes        the client is pinged, between two events and nowhere else
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from crewcap.gateway.front.outlet import Outlet
from crewcap.gateway.provider.line import Answer
from crewcap.gateway.provider.watch import Watch
from crewcap.wire import Meter, Reading, Sieve

BROKEN = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)
"""How reading from a provider fails."""

_BETWEEN_EVENTS = (b"\n\n", b"\r\n\r\n")


class Relay:
    """One stream."""

    def __init__(
        self, outlet: Outlet, *, meter: Meter, sieve: Sieve | None, watch: Watch, priced: Callable[[Reading], None]
    ) -> None:
        self.is_gone = False  # the client
        self._outlet = outlet
        self._feed = meter.feed
        self._sieve = sieve
        self._watch = watch
        self._priced = priced  # told once, when the prompt's exact price is known
        self._is_priced = False
        self._wants_more = True
        self._last = b""  # what came with the end of the provider's answer
        self._answer: Answer | None = None  # while it is read on
        self._now = asyncio.get_running_loop().time

    async def run(self, answer: Answer, first: bytes, *, ping: bytes) -> bool:
        """Everything from the first event to the last piece, which waits for `close`; whether it broke off."""
        if ping:
            self._watch.ping = lambda: self._ping(ping)
        try:
            if answer.is_over:
                self._last = self._read(first)
            elif await self._begin(answer, first):
                self._last = self._read(await answer.flow(self._take))
        except BROKEN:
            return True
        finally:
            self._answer = self._watch.ping = None
            if self._sieve is not None:
                self._last += self._sieve.close()
        return False

    async def close(self) -> None:
        """The last piece, and with it the proper end of the answer."""
        self._watch.writing = True  # from here on it is the client that is waited for
        try:
            await self._outlet.close(self._last)
        except OSError:
            self.leave()

    async def break_off(self) -> None:
        """The last piece, and no end."""
        if not self.is_gone:
            with suppress(OSError):
                await self._outlet.open(self._last)

    def leave(self) -> None:
        """The client is gone; go on for the books."""
        if not self.is_gone:
            self.is_gone = True
            self._watch.drain()

    async def _begin(self, answer: Answer, first: bytes) -> bool:
        """The head with the first piece; whether more is wanted."""
        self._answer = answer
        self._watch.tail = passed = self._read(first)
        try:
            has_room = await self._outlet.open(passed)
        except OSError:  # aiohttp raises here when the client left before the first byte
            self.leave()
        else:
            if not has_room:
                self._hold_back(answer)
        return self._wants_more

    def _take(self, chunk: bytes) -> bool:
        """One chunk; whether more is wanted."""
        watch = self._watch
        watch.last = self._now()
        if passed := self._read(chunk):
            self._write(passed)
            watch.tail = passed
        return self._wants_more

    def _read(self, chunk: bytes) -> bytes:
        """Meter it; what of it goes on to the client. Nothing more is wanted of a whole answer that has no client."""
        reading = self._feed(chunk)
        if not self._is_priced and reading.prompt_is_exact:
            self._is_priced = True
            if not reading.is_complete:  # or it is settled at once
                self._priced(reading)
        self._wants_more = not (self.is_gone and reading.is_complete)
        return chunk if self._sieve is None else self._sieve.feed(chunk)

    def _write(self, chunk: bytes) -> None:
        if self.is_gone:
            return
        try:
            has_room = self._outlet.write(chunk)
        except OSError:
            self.leave()
        else:
            if not has_room and self._answer is not None:
                self._hold_back(self._answer)

    def _hold_back(self, answer: Answer) -> None:
        """Read nothing more until the client has taken what there is."""
        if self._watch.writing:
            return
        self._watch.writing = True
        answer.pause()
        self._outlet.when_roomy(self._go_on)

    def _go_on(self) -> None:
        self._watch.writing = False
        self._watch.last = self._now()
        if self._answer is not None:
            self._answer.resume()

    def _ping(self, word: bytes) -> None:
        """While the provider is silent the client hears that it is waited for: between two events, and nowhere else."""
        watch = self._watch
        if watch.tail.endswith(_BETWEEN_EVENTS) and not (watch.writing or self.is_gone):
            with suppress(OSError):
                self._outlet.write(word)
