"""The least that anything between a client and a provider does: bytes in, bytes out. No HTTP is read at all.

    python -m benchmarks.forwarder --port 9003 --upstream http://127.0.0.1:9001

Below this nothing that copies a stream can be on this machine with this event loop: two reads, two writes and two
wake-ups of the loop for each event. It is no gateway: it cannot know where a request ends, whose it is or what it cost.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast
from urllib.parse import urlsplit

import uvloop


class Side(asyncio.Protocol):
    """One of a pair of connections; what comes in here goes out at the other one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send on what came before there was a way."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's own classes
        if self._early:
            self.transport.write(self._early)

    def data_received(self, data: bytes) -> None:
        """Bytes in, bytes out."""
        if self.other is not None:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        """Write, or keep until there is a connection."""
        if self.transport is not None:
            self.transport.write(data)
        else:
            self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """One end is the end of both."""
        del exc
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Front(Side):
    """The client's side, which opens the other one."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = host, port
        self._opening: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the way to the provider."""
        super().connection_made(transport)
        back = self.other = Side()
        back.other = self
        self._opening = asyncio.ensure_future(
            asyncio.get_running_loop().create_connection(lambda: back, *self._address)
        )


async def serve(port: int, upstream: str) -> None:
    """Forward until killed."""
    where, loop = urlsplit(upstream), asyncio.get_running_loop()
    host, at = where.hostname or "127.0.0.1", where.port or 80
    server = await loop.create_server(lambda: Front(host, at), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    """Forward from a port to an address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.upstream))


if __name__ == "__main__":
    main()
