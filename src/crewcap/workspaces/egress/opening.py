"""The way out of setup: package hosts, through a proxy of ours, and nothing else.

A sandbox has no network. What may leave it goes to 127.0.0.1:3128 inside, whose listener each command's launcher hands
out to us (`handout`), and is judged here: the host's name against the list, its addresses, the name in the TLS
greeting, and for private registries each request. `egress` opens that door for one phase of a run and says, as
`Fittings`, what the commands of that phase need for it. Every connection is written down (`egress_log`).

On a rung that has no loopback of its own the door is a port of this machine's, and a random password in the proxy's
address keeps everybody else out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Fittings, Outlet, handout
from crewcap.workspaces.egress.environ import proxy_environ, system_bundle, trust_environ, trusted_here
from crewcap.workspaces.egress.log import NetworkLog
from crewcap.workspaces.egress.proxy import Outside, Proxy
from crewcap.workspaces.egress.rules import Allowed, Registry
from crewcap.workspaces.egress.streams import Bounds

if TYPE_CHECKING:
    from crewcap.workspaces.egress.registry import Desk

__all__ = ["PORT", "Allowed", "Bounds", "Outside", "Phase", "Registry", "egress"]

Phase = Literal["setup", "check", "agent", "shell"]
PORT = 3128  # on the sandbox's own loopback
_BUNDLE = ".crewcap/trusted.pem"  # below the run's home
_USER = "crewcap"


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def egress(
    allowed: Allowed,
    *,
    phase: Phase,
    log: Path,
    loopback: bool,
    home: str,
    clock: Callable[[], datetime] = _now,
    outside: Outside = Outside(),  # noqa: B008  (frozen)
    bounds: Bounds = Bounds(),  # noqa: B008  (frozen)
) -> AsyncIterator[Fittings]:
    """A way out for the commands of one phase, as many as are started in it; closed with everything at the end.

    `log` is the run's `network.jsonl`; `loopback` and `home` are those of the run's `Layout`.
    """
    desk = _desk(allowed, bounds, clock())
    password = "" if loopback else secrets.token_urlsafe(24)
    with NetworkLog(log, phase=phase, hosts=allowed.written, clock=clock) as network:
        proxy = Proxy(allowed=allowed, log=network, desk=desk, password=password, outside=outside, bounds=bounds)
        async with _handed_out(proxy) if loopback else _on_this_machine(proxy) as outlet:
            there = f"127.0.0.1:{PORT}" if loopback else f"{_USER}:{password}@127.0.0.1:{outlet.host_port}"
            yield _fittings(allowed, outlet, f"http://{there}", desk, home)


def _desk(allowed: Allowed, bounds: Bounds, now: datetime) -> Desk | None:
    """Where a credential is added, if there is one to add."""
    hosts = [registry.host for registry in allowed.registries if registry.authorization]
    if not hosts:
        return None
    from crewcap.workspaces.egress.authority import Authority  # noqa: PLC0415  (heavy, and few runs need it)
    from crewcap.workspaces.egress.registry import Desk  # noqa: PLC0415

    return Desk(Authority.make(hosts, now=now), bounds)


# --- the two kinds of door ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _handed_out(proxy: Proxy) -> AsyncIterator[Outlet]:
    """A unix socket over which each sandbox hands its own listener out; only processes of ours can reach it."""
    folder = Path(tempfile.mkdtemp(prefix="crewcap-"))  # not in the state directory: a socket's path must be short
    try:
        with _unix(folder / "out.sock") as door:
            async with _running(_take_all(proxy, door)):
                yield Outlet(socket=folder / "out.sock", port=PORT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _on_this_machine(proxy: Proxy) -> AsyncIterator[Outlet]:
    """A port of this machine's own loopback, behind a password."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    listener.setblocking(False)
    port = listener.getsockname()[1]
    async with _running(proxy.serve(listener)):
        yield Outlet(socket=Path("/nonexistent"), port=PORT, host_port=port)


def _unix(path: Path) -> closing[socket.socket]:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(os.fspath(path))
        door.listen(16)
        door.setblocking(False)
    except OSError as error:
        door.close()
        raise UnsafeEnvironment(
            f"cannot make the socket {path}: {error.strerror or error}",
            help="set TMPDIR to a short path on this machine",
        ) from None
    return closing(door)


async def _take_all(proxy: Proxy, door: socket.socket) -> None:
    """Serve every listener that is handed out here: one for each command of the phase."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while True:
            launcher, _ = await loop.sock_accept(door)
            group.create_task(_take(proxy, launcher))


async def _take(proxy: Proxy, launcher: socket.socket) -> None:
    received = await handout.take(launcher, uid=None)
    if received is not None:
        await received.confirm()
        await proxy.serve(received.listener)


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """The work goes on for as long as the block does, and its end is waited for."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- what the commands need --------------------------------------------------------------------------------------


def _fittings(allowed: Allowed, outlet: Outlet, proxy: str, desk: Desk | None, home: str) -> Fittings:
    """Where the proxy is, and whom to trust beyond it."""
    trusted = [registry.authority for registry in allowed.registries if registry.authority]
    trusted += [desk.authority.certificate] if desk is not None else []
    files, bundle = {}, str(system_bundle() or "")
    if trusted:
        bundle = f"{home}/{_BUNDLE}"
        files[bundle] = b"\n".join((trusted_here(), *trusted))
    environ = {**proxy_environ(proxy), **(trust_environ(bundle) if bundle else {})}
    return Fittings(outlets=(outlet,), environ=environ, files=files, said=_said(allowed))


def _said(allowed: Allowed) -> tuple[str, ...]:
    """What people should know of it: where it leads, and what is looser than usual."""
    placed = [
        f"{registry.host} leads to {registry.address} on this machine's own network"
        for registry in allowed.registries
        if registry.address
    ]
    credited = [
        f"{registry.host}: the credential in [registries] is added outside, to requests that read"
        for registry in allowed.registries
        if registry.authorization
    ]
    return (f"network: {', '.join(allowed.written or allowed.hosts)}", *placed, *credited)
