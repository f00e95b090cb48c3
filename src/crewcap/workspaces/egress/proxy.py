"""The proxy itself: takes connections from a listener, judges each of them, and carries what may go.

The order is the promise. The name is judged before it is looked up, its addresses before one is connected to, the TLS
greeting before a byte of it is sent. What is connected to is exactly what was judged: nobody looks the name up again. A
redirect is a new request of the client, and is judged as one.

The proxy takes a resolver and a rule for addresses, so that a test can let loopback stand for the internet; there is no
setting that would loosen either.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hmac
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crewcap.workspaces.egress.exchange import CutShort, Server, exchange, refusal
from crewcap.workspaces.egress.hello import LARGEST, NotTls, read_greeting
from crewcap.workspaces.egress.http import (
    LARGEST_HEAD,
    Malformed,
    Request,
    read_address,
    read_authority,
    read_request,
)
from crewcap.workspaces.egress.log import NetworkLog
from crewcap.workspaces.egress.rules import Allowed, Refusal, Scheme, Target, is_public, judge
from crewcap.workspaces.egress.streams import Bounds, Carried, Cut, Meter, Stream, connect, read_head, tunnel

if TYPE_CHECKING:
    from crewcap.workspaces.egress.registry import Desk  # it brings the library that makes certificates

log = logging.getLogger(__name__)
Endpoint = tuple[str, int]  # an address and a port
Resolver = Callable[[str, int], Awaitable[Sequence[Endpoint]]]
_LONGEST = 100  # of a stranger's words in a reason
_ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"  # a fatal TLS alert


async def look_up(host: str, port: int) -> Sequence[Endpoint]:
    """The addresses of a name, as this machine's resolver has them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys((str(entry[4][0]), int(entry[4][1])) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """How names are looked up, and which addresses may be connected to."""

    resolve: Resolver = look_up
    permits: Callable[[str], bool] = is_public


def _not_public(address: str, host: str) -> str:
    """With what lets it be meant: only the operator's own settings can say where a registry lies."""
    return (
        f"it leads to {address}, which is not an address of the public internet; where it is your own registry,"
        f' say so in your own settings: [registries."{host}"] address = "..."'
    )


class _Refused(Exception):
    """A connection that is not made."""

    def __init__(self, host: str, port: int, reason: str, *, status: int = 403) -> None:
        super().__init__(reason)
        self.host = host
        self.port = port
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class _Way:
    """A target whose addresses were judged."""

    target: Target
    endpoints: Sequence[Endpoint]

    async def connect(self, each_s: float) -> Stream:
        try:
            return await connect(self.endpoints, each_s=each_s)
        except OSError:
            raise _Refused(self.target.host, self.target.port, "it does not answer", status=502) from None


@dataclass(slots=True, kw_only=True)
class Proxy:
    """One phase's proxy; see the module."""

    allowed: Allowed
    log: NetworkLog
    desk: Desk | None = None  # for registries with a credential
    password: str = field(default="", repr=False)  # of the user `crewcap`; empty = the listener itself says who it is
    outside: Outside = Outside()
    bounds: Bounds = Bounds()  # noqa: RUF009  (frozen)
    _meter: Meter = field(init=False)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._meter = Meter(self.bounds, Carried())
        self._room = asyncio.Semaphore(self.bounds.connections)

    async def serve(self, listener: socket.socket) -> None:
        """Take connections until cancelled; what is above the bound waits in the kernel's queue."""
        loop = asyncio.get_running_loop()
        with contextlib.closing(listener):
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.acquire()
                    try:
                        accepted, _ = await loop.sock_accept(listener)
                    except BaseException:
                        self._room.release()
                        raise
                    group.create_task(self._attend(accepted))

    async def _attend(self, accepted: socket.socket) -> None:
        """One connection, from its first byte to its last."""
        try:
            client = Stream(*await asyncio.open_connection(sock=accepted, limit=LARGEST_HEAD))
            try:
                await self._answer(client)
            finally:
                await client.close()
        except (OSError, EOFError):  # somebody hung up; there is nobody to tell
            accepted.close()
        except Exception:  # a defect of ours must not end the other connections
            log.exception("a connection of the setup proxy ended in a defect")
        finally:
            self._room.release()

    async def _answer(self, client: Stream) -> None:
        try:
            raw = await read_head(client.reader, within_s=self.bounds.head_s)
            if raw:
                await self._go(client, read_request(raw))
        except TimeoutError:
            await self._refuse(client, _Refused("", 0, "the request took too long", status=408))
        except Malformed as error:
            await self._refuse(client, _Refused("", 0, str(error), status=400))
        except _Refused as refused:
            await self._refuse(client, refused)

    async def _refuse(self, client: Stream, refused: _Refused) -> None:
        if refused.status != 407:  # most tools ask without a password first
            self.log.refused(refused.host, refused.port, refused.reason)
        await client.send(refusal(refused.status, refused.reason))

    async def _go(self, client: Stream, request: Request) -> None:
        self._check_password(request)
        if request.method == "CONNECT":
            host, port = read_authority(request.target)
            await self._tunnel(client, await self._way(host, port, "https"))
        else:
            await self._plain(client, request)

    def _check_password(self, request: Request) -> None:
        if not self.password:
            return
        wanted = b"Basic " + base64.b64encode(f"crewcap:{self.password}".encode())
        given = request.head.one("proxy-authorization").encode("latin-1")
        if not hmac.compare_digest(wanted, given):
            raise _Refused("", 0, "this proxy belongs to a run of crewcap", status=407)

    async def _way(self, host: str, port: int, scheme: Scheme) -> _Way:
        """Judge a name, look it up, judge what came."""
        target = judge(host, port, scheme, self.allowed)
        if isinstance(target, Refusal):
            raise _Refused(host, port, target.reason)
        try:
            async with asyncio.timeout(self.bounds.resolve_s):
                endpoints = await self.outside.resolve(*target.endpoint)
        except (OSError, UnicodeError):  # a time-out is one
            raise _Refused(host, port, "its name leads to no address", status=502) from None
        inside = next((each for each, _ in endpoints if not (target.is_placed or self.outside.permits(each))), None)
        if inside is not None:
            raise _Refused(host, port, _not_public(inside, host))
        return _Way(target, endpoints)

    # --- https: a tunnel, once the greeting says the same name ----------------------------------------------------

    async def _tunnel(self, client: Stream, way: _Way) -> None:
        async with self._server(way) as server:
            await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                greeting = await self._greeting(client, way.target.host)
            except NotTls as error:
                self.log.refused(way.target.host, way.target.port, str(error))
                await client.send(_ACCESS_DENIED)
                return
            await self._carry(client, server, way.target, greeting)

    async def _greeting(self, client: Stream, host: str) -> bytes:
        """The whole TLS greeting, if it is one for this host; `NotTls` says what else it is."""
        received = b""
        try:
            async with asyncio.timeout(self.bounds.head_s):
                while (greeting := read_greeting(received)) is None:
                    piece = await client.reader.read(LARGEST)
                    if not piece:
                        raise NotTls("it hung up before a TLS greeting")
                    received += piece
        except TimeoutError:
            raise NotTls("no TLS greeting came in time") from None
        if greeting.is_encrypted:
            raise NotTls("its TLS greeting hides a second name (ECH)")
        if greeting.name != host:
            raise NotTls(f"its TLS greeting names {greeting.name[:_LONGEST] or 'no host'}")
        return received

    async def _carry(self, client: Stream, server: Stream, target: Target, greeting: bytes) -> None:
        """Both directions, and a line in the log for it."""
        with self._noted(target) as carried:
            self._meter.count(carried, out=len(greeting))
            await server.send(greeting)
            await tunnel(client, server, carried, self._meter)

    @contextmanager
    def _noted(self, target: Target) -> Iterator[Carried]:
        """A connection in the log, with what it carried and why it ended, if that was not its own end."""
        begun, began, carried, reason = self.log.opened(target.host, target.port), time.monotonic(), Carried(), ""
        try:
            yield carried
        except TimeoutError:
            reason = "cut: nothing moved any more"
        except (Cut, Malformed) as error:
            reason = str(error)
        except (OSError, EOFError, CutShort):
            reason = "broken off"
        except asyncio.CancelledError:
            reason = "cut: the phase was over"
            raise
        finally:
            seconds = time.monotonic() - began
            self.log.ended(begun, reason=reason, bytes_out=carried.out, bytes_in=carried.into, seconds=seconds)

    @asynccontextmanager
    async def _server(self, way: _Way) -> AsyncIterator[Stream]:
        """The other end of a tunnel: the host itself, or our desk for a registry with a credential."""
        target = way.target
        if self.desk is not None and target.registry is not None and target.registry.authorization:
            async with self._at_desk(self.desk, way) as server:
                yield server
            return
        server = await way.connect(self.bounds.connect_s)
        try:
            yield server
        finally:
            server.abort()

    @asynccontextmanager
    async def _at_desk(self, desk: Desk, way: _Way) -> AsyncIterator[Stream]:
        target = way.target
        ours, theirs = socket.socketpair()
        served = asyncio.ensure_future(
            desk.serve(
                theirs,
                target,
                functools.partial(self._encrypted, way),
                functools.partial(self.log.refused, target.host, target.port),
            )
        )
        server = Stream(*await asyncio.open_connection(sock=ours, limit=LARGEST_HEAD))
        try:
            yield server
        finally:
            server.abort()
            served.cancel()
            await asyncio.gather(served, return_exceptions=True)
            theirs.close()

    async def _encrypted(self, way: _Way, context: ssl.SSLContext) -> Stream:
        """TLS to a registry, under its own name, at the addresses that were judged."""
        return await connect(way.endpoints, each_s=self.bounds.connect_s, tls=(context, way.target.host))

    # --- plain http: each request is judged -----------------------------------------------------------------------

    async def _plain(self, client: Stream, request: Request) -> None:
        while await self._forward(client, request):
            try:
                raw = await read_head(client.reader, within_s=self.bounds.idle_s)
            except TimeoutError:
                return
            if not raw:
                return
            request = read_request(raw)
            self._check_password(request)

    async def _forward(self, client: Stream, request: Request) -> bool:
        """One request by plain http; whether the client may send another."""
        address = read_address(request.target)
        if address.scheme != "http" or request.method not in {"GET", "HEAD"} or request.head.framing:
            raise _Refused(address.host, address.port, f"{request.method} is not served without TLS: use https")
        way = await self._way(address.host, address.port, "http")
        if request.head.one("host").lower().removesuffix(f":{way.target.port}") != way.target.host:
            raise _Refused(address.host, address.port, "its Host header names another host")
        open_ = functools.partial(way.connect, self.bounds.connect_s)
        server = Server(open_, answer_s=self.bounds.idle_s, stream=await open_())
        headers = (("Host", way.target.host), *request.head.onward(without=("host",)), ("Connection", "close"))
        keeps = False
        with self._noted(way.target) as carried, contextlib.closing(server):
            async with asyncio.timeout(self.bounds.idle_s) as limit:
                sent, got = self._meter.counters(carried, limit)
                first = f"{request.method} {address.path} HTTP/1.1"
                _, keeps = await exchange(client, server, request, first=first, headers=headers, sent=sent, got=got)
        return keeps
