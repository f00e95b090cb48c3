"""Where requests come in.

    loopback      one TCP port for every key that has no door of its own
    a run's door  a unix socket that only the run's user may open ("http"), or a listener made inside a sandbox
                  whose descriptor was handed out over such a socket ("handout", see workspaces/handout.py)

A key that has a door works through that door alone, also once it is closed, and through a door only its own key
works: a key that is stolen out of a sandbox opens nothing elsewhere, and a run that is over asks for nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from aiohttp import web

from crewcap.core.budget import KeyId
from crewcap.errors import UsageError
from crewcap.gateway.front.protocol import Server
from crewcap.gateway.provider.upstream import is_loopback
from crewcap.workspaces import handout

LONGEST_SOCKET_PATH = 107  # bytes; what the kernel takes
CLOSE_S = 1.0  # for a request to end by itself, and once more after it is cancelled

Mode = Literal["handout", "http"]
Handler = Callable[["Door", web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Door:
    """Through which listener a request came; `key` is the only one that may use it, None = any without a door."""

    name: str
    key: KeyId | None = None


LOOPBACK = Door("loopback")


@dataclass(slots=True, kw_only=True)
class _Open:
    """An open run's door."""

    door: Door
    path: Path
    runner: web.ServerRunner
    waiting: asyncio.Task[None] | None = None  # for the listener to be handed out


@dataclass(slots=True)
class Doors:
    """Every listener of one gateway."""

    handler: Handler
    _loopback: web.ServerRunner | None = None
    _runs: dict[str, _Open] = field(default_factory=dict)
    _closing: dict[str, list[web.ServerRunner]] = field(default_factory=dict)
    _keys: set[KeyId] = field(default_factory=set)  # that have or had a door

    async def listen(self, host: str, port: int) -> str:
        """Open the loopback door; its address as an URL."""
        if not is_loopback(host):
            raise UsageError(
                f"the gateway does not listen on {host}: whoever reaches it can spend what a key is worth",
                help="use 127.0.0.1, and an ssh tunnel from other machines",
            )
        self._loopback = await self._runner(LOOPBACK)
        site = web.TCPSite(self._loopback, host, port)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror}", help="choose another --listen"
            ) from error
        found = self._loopback.addresses[0]
        return f"http://[{found[0]}]:{found[1]}" if ":" in found[0] else f"http://{found[0]}:{found[1]}"

    async def open(self, run: str, *, key: KeyId, path: Path, mode: Mode, uid: int | None) -> None:
        """Open a run's door at a unix socket that the run's user alone may use."""
        if run in self._runs:
            raise UsageError(f"run {run} has a door already", help="close it first")
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            raise UsageError(
                f"the socket's path is longer than {LONGEST_SOCKET_PATH} bytes: {path}", help="use a shorter one"
            )
        door = Door(run, key)
        runner = await self._runner(door)
        listener = _bind(path, uid)
        opened = _Open(door=door, path=path, runner=runner)
        if mode == "http":
            await web.SockSite(runner, listener).start()
        else:
            opened.waiting = asyncio.create_task(self._take(opened, listener, uid))
        self._runs[run] = opened
        self._keys.add(key)

    async def close(self, run: str) -> bool:
        """Stop listening for a run; requests that are under way go on. False if it had no door."""
        opened = self._runs.pop(run, None)
        if opened is None:
            return False
        if opened.waiting is not None:
            opened.waiting.cancel()
            await asyncio.wait([opened.waiting])
        for site in tuple(opened.runner.sites):
            await site.stop()
        opened.path.unlink(missing_ok=True)
        self._closing.setdefault(run, []).append(opened.runner)
        return True

    async def hang_up(self, run: str) -> None:
        """Close the connections that a run's closed doors left open."""
        await _close(self._closing.pop(run, []))

    async def stop_accepting(self) -> None:
        """Close every listener; connections that are open stay open."""
        for run in tuple(self._runs):
            await self.close(run)
        if self._loopback is not None:
            for site in tuple(self._loopback.sites):
                await site.stop()

    async def cleanup(self) -> None:
        """Close every connection, those of all doors at the same time: who waits for a gateway's end waits for this."""
        closing = [runner for runners in self._closing.values() for runner in runners]
        self._closing.clear()
        await _close(closing if self._loopback is None else [*closing, self._loopback])

    def lets_in(self, door: Door, key: KeyId) -> bool:
        """Whether this key may come through this door."""
        if door.key is not None:
            return door.key == key and door.name in self._runs
        return key not in self._keys

    def runs(self) -> tuple[str, ...]:
        """Runs with an open door."""
        return tuple(self._runs)

    async def _runner(self, door: Door) -> web.ServerRunner:
        server = Server(partial(self.handler, door), access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_S)
        await runner.setup()
        return runner

    async def _take(self, opened: _Open, listener: socket.socket, uid: int | None) -> None:
        """Wait for the listener of a sandbox; the socket is gone before anything in there could use it again."""
        with contextlib.closing(listener):
            received = await handout.receive(listener, uid=uid, unlink=opened.path)
        await web.SockSite(opened.runner, received.listener).start()
        await received.confirm()


async def _close(runners: Sequence[web.ServerRunner]) -> None:
    """Hang up on whoever is still connected."""
    await asyncio.gather(*(runner.cleanup() for runner in runners))


def _bind(path: Path, uid: int | None) -> socket.socket:
    """A unix socket that only one user may open, from the first moment on."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        if uid is not None and uid != os.geteuid():
            os.chown(path, uid, -1)
        listener.listen(128)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot make the socket {path}: {error.strerror}") from error
    return listener
