"""The lines to providers: opened when one is needed, kept for a while after use, and given to the next request.

aiohttp's connector opens them, as it does for everything else here: names and addresses, one after the other and in a
race where there are several, TLS with the machine's certificates. From then on they are ours.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import aiohttp
from yarl import URL

from crewcap.gateway.provider.line import Line

_Place = tuple[str | None, int | None, str]


class Lines:
    """Every line of one gateway."""

    def __init__(self, connector: aiohttp.BaseConnector, *, connect_s: float, kept_s: float) -> None:
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._kept_s = kept_s
        self._idle: defaultdict[_Place, list[Line]] = defaultdict(list)
        self._sweeping: asyncio.TimerHandle | None = None

    async def get(self, url: URL) -> Line:
        """One that is free, the last one used first; else a new one. Raises as aiohttp's connector does."""
        idle, now = self._idle[_place(url)], asyncio.get_running_loop().time()
        while idle:
            line = idle.pop()
            if line.is_open and now - line.idle_since < self._kept_s:
                return line
            line.close()
        return await self._opened(url)

    def put(self, url: URL, line: Line) -> None:
        """It is free again."""
        loop = asyncio.get_running_loop()
        line.idle_since = loop.time()
        self._idle[_place(url)].append(line)
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._kept_s, self._sweep)

    def close(self) -> None:
        """Hang up on all that are free; those in use end with their answers."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for idle in self._idle.values():
            for line in idle:
                line.close()
        self._idle.clear()

    async def _opened(self, url: URL) -> Line:
        loop = asyncio.get_running_loop()
        asked = aiohttp.ClientRequest("GET", url.origin(), loop=loop)  # says where to; nothing of it is sent
        connection = await self._connector.connect(asked, [], self._timeout)
        transport, handler = connection.transport, connection.protocol
        if transport is None or handler is None:
            connection.close()
            raise ConnectionResetError("the provider hung up")

        def lost(error: Exception | None) -> None:
            """The connector counts what it has opened, and waits for its ends."""
            handler.connection_lost(error)
            connection.close()

        line = Line(transport, lost=lost)
        transport.set_protocol(line)
        return line

    def _sweep(self) -> None:
        """Nothing is kept open for longer than providers keep it."""
        loop = asyncio.get_running_loop()
        self._sweeping = None
        oldest = loop.time() - self._kept_s
        for place, idle in tuple(self._idle.items()):
            self._idle[place] = [line for line in idle if line.is_open and line.idle_since > oldest]
            for line in set(idle) - set(self._idle[place]):
                line.close()
            if not self._idle[place]:
                del self._idle[place]
        if self._idle:
            self._sweeping = loop.call_later(self._kept_s, self._sweep)


def _place(url: URL) -> _Place:
    return url.raw_host, url.port, url.scheme
