"""Taking a listener out of a sandbox.

A sandbox has no network, so nothing in it can reach a gateway or a proxy. Its launcher listens on the sandbox's own
127.0.0.1, connects to the run's unix socket, sends one byte `L` with the listener's descriptor, and goes on only
when `K` comes back. From then on whoever took it accepts connections of that listener as if it were its own: no relay
process, no copy, and the listener itself says which run it is.

Exactly one descriptor is taken, once, from the run's own user (or root, which a launcher still is before it drops
its rights), and only if it is a TCP socket that listens on a loopback address. The unix socket is removed before
`K` is sent, so that nothing in the sandbox can ever use it again.

`served` is the whole of it for those who answer the connections themselves: setup's proxy, relayed ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

HELLO = b"L"
DONE = b"K"
HELLO_S = 60  # the runner connects first and starts the sandbox then
MOST_CONNECTIONS = 128  # at the same time; the others wait in the kernel's queue

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_BREATH_S = 0.1
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Received:
    """A listener that is ours now, and the launcher that waits for our word."""

    listener: socket.socket
    launcher: socket.socket

    async def confirm(self) -> None:
        """Say that requests are served from now on."""
        with contextlib.suppress(OSError), contextlib.closing(self.launcher):  # a launcher that died asks for nothing
            await asyncio.get_running_loop().sock_sendall(self.launcher, DONE)


@asynccontextmanager
async def served(path: Path, serve: Serve, *, uid: int | None, most: int = MOST_CONNECTIONS) -> AsyncIterator[None]:
    """Wait at `path` for one listener, and serve its connections; all of it ends with the block."""
    with _door(path) as unix:
        task = asyncio.create_task(_serve(unix, path, serve, uid=uid, most=most))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.contextmanager
def _door(path: Path) -> Iterator[socket.socket]:
    """A unix socket that listens. Everybody may connect: who it is, is asked of the kernel."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
        unix.setblocking(False)
        unix.bind(os.fspath(path))
        try:
            path.chmod(0o666)
            unix.listen(8)
            yield unix
        finally:
            path.unlink(missing_ok=True)


async def _serve(unix: socket.socket, path: Path, serve: Serve, *, uid: int | None, most: int) -> None:
    """Take the listener, then its connections, each a task of its own; a cancellation reaches all of them."""
    received = await receive(unix, uid=uid, unlink=path)
    places = asyncio.Semaphore(most)
    loop = asyncio.get_running_loop()
    with received.listener as listener:
        await received.confirm()
        async with asyncio.TaskGroup() as connections:
            while True:
                await places.acquire()
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:  # too many files are open, or whoever asked is gone again
                    places.release()
                    await asyncio.sleep(_BREATH_S)
                    continue
                connections.create_task(_serve_one(connection, serve)).add_done_callback(lambda _: places.release())


async def _serve_one(connection: socket.socket, serve: Serve) -> None:
    """One connection from its begin to its end; what goes wrong in it is its own affair."""
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        await serve(reader, writer)
    except OSError as error:
        log.debug("a connection out of a sandbox ended: %s", error)
    except Exception:
        log.exception("a connection out of a sandbox failed")
    finally:
        writer.close()


async def receive(unix: socket.socket, *, uid: int | None, unlink: Path) -> Received:
    """Wait on a run's unix socket until its launcher hands a listener out; then the socket is gone."""
    loop = asyncio.get_running_loop()
    while True:
        launcher, _ = await loop.sock_accept(unix)
        if (received := await take(launcher, uid=uid)) is not None:
            unlink.unlink(missing_ok=True)  # noqa: ASYNC240  (one name in memory-backed /run or a local folder)
            return received


async def take(launcher: socket.socket, *, uid: int | None) -> Received | None:
    """The listener that whoever connected here hands out; None, and hung up, where it is not what it must be."""
    launcher.setblocking(False)
    listener = await _take(launcher, uid)
    if listener is None:
        launcher.close()
        return None
    return Received(listener, launcher)


async def _take(launcher: socket.socket, uid: int | None) -> socket.socket | None:
    """The listener that this peer hands out, if it is the right peer and the right thing."""
    if (peer := _peer_uid(launcher)) not in {0, os.geteuid(), uid}:
        log.warning("user %s tried to hand out a listener of another user's run", peer)
        return None
    try:
        async with asyncio.timeout(HELLO_S):
            hello, descriptors = await _receive_descriptors(launcher)
    except (TimeoutError, OSError):
        return None
    if hello == HELLO and len(descriptors) == 1 and (listener := _loopback_listener(descriptors[0])):
        return listener
    if not hello and not descriptors:  # it ended before it had anything to hand out: its sandbox tells why
        return None
    log.warning("what was handed out is not one listener on a loopback address")
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return None


async def _receive_descriptors(launcher: socket.socket) -> tuple[bytes, list[int]]:
    """One byte and what came with it, as soon as it is there."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(launcher, _ring, ready)
    try:
        await ready
    finally:
        loop.remove_reader(launcher)
    hello, descriptors, _, _ = socket.recv_fds(launcher, 1, 4)
    return hello, descriptors


def _ring(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _peer_uid(launcher: socket.socket) -> int:
    """Who is at the other end, as the kernel says."""
    credentials = launcher.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid


def _loopback_listener(descriptor: int) -> socket.socket | None:
    """A TCP socket that listens, on an address that only its own network namespace reaches; else None."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return None
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    is_tcp = found.type == socket.SOCK_STREAM and found.family in {socket.AF_INET, socket.AF_INET6}
    if listens and is_tcp and ipaddress.ip_address(found.getsockname()[0]).is_loopback:
        found.setblocking(False)
        return found
    found.detach()
    return None
