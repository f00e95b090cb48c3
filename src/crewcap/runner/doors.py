"""A run's own door to the gateway: open while its agent works, and closed only when its last request is settled."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crewcap.core.budget import KeyId
from crewcap.core.routing import FanOut
from crewcap.errors import CrewcapError, UnsafeEnvironment
from crewcap.gateway.client import GatewayHandle
from crewcap.gateway.front.fanout import Seen
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner.process import Site
from crewcap.workspaces import Outlet

_PASSABLE = 0o711  # the run's user may reach the socket, and list nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where an agent finds the gateway."""

    socket: Path  # on the host
    port: int  # on the agent's own loopback, where it has one

    @property
    def outlet(self) -> Outlet:
        """The same, as a sandbox needs it."""
        return Outlet(socket=self.socket, port=self.port)


@dataclass(slots=True)
class Doors:
    """Doors of one gateway, which stays for as long as its starter does."""

    gateway: GatewayHandle | None  # None = none has been there yet

    @property
    def is_lost(self) -> bool:
        """Whether the gateway behind the last door is gone, and another one will take its place."""
        return False

    async def ready(self) -> None:
        """Wait until there is a gateway."""

    @asynccontextmanager
    async def opened(
        self, run: str, key: KeyId, site: Site, *, hurry: asyncio.Event, fan_out: FanOut | None = None
    ) -> AsyncIterator[Door]:
        """A door for one start of an agent; outside of the state directory, because a socket's path must be short."""
        await self.ready()
        gateway, folder = self._reached(), _passable_folder()
        door = Door(socket=folder / "gw.sock", port=site.gateway_port)
        try:
            mode: Literal["handout", "http"] = "handout" if site.layout.loopback else "http"
            await gateway.open_door(run, key_id=key, socket=door.socket, mode=mode, uid=site.uid, fan_out=fan_out)
            try:
                yield door
            finally:
                await _close(gateway, run, hurry)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def fan_out(self, run: str) -> Seen:
        """What the run's agents did; nothing, where the gateway cannot say any more."""
        try:
            return await self._reached().fan_out(run)
        except CrewcapError:
            return Seen()

    async def slice_opened(self, run: str, *, wait: bool) -> bool:
        """Whether the gateway serves the run from its cap's final slice; False where it cannot say any more."""
        try:
            return await self._reached().slice_opened(run, wait=wait)
        except CrewcapError:
            return False

    async def frozen(self) -> str:
        """Why the gateway froze the provider, if it did."""
        troubles = (await self._reached().status())["frozen"]
        return str(troubles[0]["reason"]) if troubles else ""

    def _reached(self) -> GatewayHandle:
        """The gateway; an error that says so where a run is watched before there is one."""
        if self.gateway is None:
            raise UnsafeEnvironment("there is no gateway yet", help="it is waited for; nothing needs to be done")
        return self.gateway


class LastingDoors(Doors):
    """Doors of whichever gateway the home has: one that ends is followed by another."""

    def __init__(self, lifeline: Lifeline) -> None:
        super().__init__(None)
        self._lifeline = lifeline
        self._generation = 0  # of the gateway behind the last door

    @property
    def is_lost(self) -> bool:
        """Whether the gateway behind the last door is gone."""
        return bool(self._generation) and not (self._lifeline.is_up and self._lifeline.generation == self._generation)

    async def ready(self) -> None:
        """Wait for a gateway; the next door leads to it."""
        self.gateway = await self._lifeline.ready()
        self._generation = self._lifeline.generation


async def _close(gateway: GatewayHandle, run: str, hurry: asyncio.Event) -> None:
    """Wait until the run's last request is settled; who is in a hurry leaves that to the gateway."""
    closing = asyncio.ensure_future(gateway.close_door(run))
    hurried = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({closing, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if closing.done():
            closing.result()
    finally:
        for task in (closing, hurried):
            task.cancel()
        await asyncio.gather(closing, hurried, return_exceptions=True)


def _passable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="crewcap-"))
    folder.chmod(_PASSABLE)
    return folder
