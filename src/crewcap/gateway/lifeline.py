"""Holding on to a home's gateway through its ends: whoever serves starts it again, and we go on with the new one."""

from __future__ import annotations

import asyncio
import logging

from crewcap.gateway.client import GatewayHandle, find, hold_on
from crewcap.home import Home

log = logging.getLogger(__name__)

_LOOK_S = 0.1


class Lifeline:
    """The gateway of a home, as long as there is one, and the next one then."""

    def __init__(self, home: Home, *, drain_s: float = 120) -> None:
        self._home = home
        self._drain_s = drain_s
        self._up = asyncio.Event()
        self._handle: GatewayHandle | None = None
        self.generation = 0  # rises with each gateway

    @property
    def is_up(self) -> bool:
        """Whether there is one now."""
        return self._up.is_set()

    async def ready(self) -> GatewayHandle:
        """Wait for a gateway."""
        while self._handle is None:
            await self._up.wait()
        return self._handle

    async def keep(self) -> None:
        """Hold on, until we are cancelled."""
        while True:
            held = await hold_on(await find(self._home, drain_s=self._drain_s))
            if held is None:
                await asyncio.sleep(_LOOK_S)
                continue
            self._handle, lease = held
            self.generation += 1
            self._up.set()
            try:
                await lease.lost()
                log.warning("the gateway (process %s) is gone; waiting for the next one", self._handle.pid)
            finally:
                self._up.clear()
                self._handle = None
                await lease.close()
