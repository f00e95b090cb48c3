"""Ports of this machine that a project's settings let into its sandbox, each leading to one fixed host and port.

    [repos."acme/shop"]
    ports = { 5432 = "127.0.0.1:5432" }

Inside, 127.0.0.1:5432 is a listener that was handed out to us (`handout`); each connection to it becomes one of ours to
the address in the settings, and nothing that comes through can change which one that is. It is a loosening, and said
wherever the sandbox is described: whatever answers there is open to the agent, with whatever rights it gives.

Some addresses are never relayed: a gateway's own doors and a provider's (both would be ways around the meter), the
cloud's metadata service, and a docker daemon, which is root on this machine to everybody who reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Fittings, Outlet, Rung
from crewcap.workspaces.handout import Serve, served

log = logging.getLogger(__name__)

Address = tuple[str, int]

_CONNECT_S = 10.0
_CHUNK = 1 << 16
_MOST = 128  # connections of one port at the same time
_PASSABLE = 0o711  # the run's user may reach the sockets, and list nothing
_DOCKER = frozenset({2375, 2376})


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a port leads."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@asynccontextmanager
async def relayed(
    ports: Mapping[int, str], *, uid: int | None, rung: Rung, never: Collection[Address] = ()
) -> AsyncIterator[Fittings]:
    """The ports for one command of a run; `never` are addresses that must not be reached: the gateway's, providers'.

    `UnsafeEnvironment` where a target is one of those, or nothing answers there.
    """
    targets = {inside: _target(address) for inside, address in ports.items()}
    for inside, target in targets.items():
        await _refuse(inside, target, never)
    if not targets:
        yield Fittings()
        return
    said = tuple(f"port {inside} inside leads to {target} outside: loosened" for inside, target in targets.items())
    async with AsyncExitStack() as stack:
        if rung == "bubblewrap":
            outlets = await _hand_outs(stack, targets, uid=uid)
            yield Fittings(outlets=outlets, said=said)
        else:
            await _listen(stack, targets, rung=rung)
            yield Fittings(said=said)


async def _hand_outs(stack: AsyncExitStack, targets: Mapping[int, _Target], *, uid: int | None) -> tuple[Outlet, ...]:
    """A door for each port, at which the sandbox hands its listener out."""
    folder = Path(tempfile.mkdtemp(prefix="crewcap-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(_PASSABLE)  # noqa: ASYNC240  (one name in a local folder)
    outlets = []
    for inside, target in targets.items():
        door = folder / f"{inside}.sock"
        await stack.enter_async_context(served(door, _relay_to(target), uid=uid, most=_MOST))
        outlets.append(Outlet(socket=door, port=inside))
    return tuple(outlets)


async def _listen(stack: AsyncExitStack, targets: Mapping[int, _Target], *, rung: Rung) -> None:
    """Without a loopback of its own a sandbox can have a port only where it can reach this machine's."""
    if rung == "landlock":
        raise UnsafeEnvironment(
            "ports cannot be relayed on the landlock rung, which has no network at all",
            help="use bubblewrap; `crewcap doctor` says what it needs here",
        )
    for inside, target in targets.items():
        if target.port == inside and _is_loopback(target.host):
            continue  # the network is open: it is there already
        try:
            server = await asyncio.start_server(_relay_to(target), "127.0.0.1", inside)
        except OSError as error:
            raise UnsafeEnvironment(
                f"port {inside} of this machine cannot be had for {target}: {error.strerror}",
                help="give it another number in `ports`",
            ) from None
        await stack.enter_async_context(server)


def _relay_to(target: _Target) -> Serve:
    """What to do with each connection of a port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                theirs, ours = await asyncio.open_connection(target.host, target.port)
        except (OSError, TimeoutError) as error:
            log.warning("%s does not answer a sandbox: %s", target, str(error) or "no answer in time")
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(_pump(reader, ours))
                directions.create_task(_pump(theirs, writer))
        except* OSError:
            writer.transport.abort()
        finally:
            ours.close()

    return relay


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """One direction, no faster than it is taken; its end is passed on."""
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    with contextlib.suppress(OSError):
        if sink.can_write_eof():
            sink.write_eof()


# --- what is refused ---------------------------------------------------------------------------------------------


async def _refuse(inside: int, target: _Target, never: Collection[Address]) -> None:
    """`UnsafeEnvironment` for an address that no sandbox may reach, or where nothing answers."""
    where = f"ports: {inside} leads to {target}"
    addresses = await _addresses(target, where)
    if reason := _forbidden(target, addresses, {(host.lower(), port) for host, port in never}):
        raise UnsafeEnvironment(f"{where}, {reason}", help="take it out of `ports`")
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError):
        raise UnsafeEnvironment(f"{where}, and nothing answers there", help="start it, or correct `ports`") from None
    writer.close()


def _forbidden(target: _Target, addresses: Collection[str], never: Collection[Address]) -> str:
    """Why it may not be reached; empty = it may."""
    names = {target.host.lower(), *addresses}
    if any((name, target.port) in never for name in names):
        return "which is a way around the gateway"
    if any(port == target.port and _is_loopback(host) and any(map(_is_loopback, names)) for host, port in never):
        return "which is a way around the gateway"
    if any(_is_link_local(address) for address in addresses):
        return "a link-local address, where clouds keep their credentials"
    if target.port in _DOCKER:
        return "where docker daemons listen: whoever reaches one is root on its machine"
    return ""


async def _addresses(target: _Target, where: str) -> tuple[str, ...]:
    """What the name stands for now."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:
        raise UnsafeEnvironment(f"{where}, a name that is not known here", help="correct it in `ports`") from None
    return tuple(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def _is_link_local(text: str) -> bool:
    address = ipaddress.ip_address(text)
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_link_local


def _target(address: str) -> _Target:
    host, _, port = address.rpartition(":")
    return _Target(host, int(port))
