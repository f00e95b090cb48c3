"""What each phase of a run finds in its sandbox.

    setup    the project's fittings, a way out to the hosts of `hosts`, its prepared folders to write
    check    the project's fittings, nothing that leads out
    agent    the same, and the gateway (its door is the agent's own: see `doors`)
    shell    the same, without the gateway and without a key
    git      the run's own tree alone: `Rooms.site`

With `hosts_during_run = true` check, agent and shell have setup's way out as well. A way out is opened for one command
and closed behind it: its listener is handed out once (see `workspaces/handout`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from crewcap.runner.process import Site
from crewcap.workspaces import Fittings

Phase = Literal["setup", "check", "agent", "shell"]
WayOut = Callable[[Phase], AbstractAsyncContextManager[Fittings]]


@asynccontextmanager
async def closed(phase: Phase) -> AsyncIterator[Fittings]:
    """No way out in any phase."""
    del phase
    yield Fittings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """A run's site, and how it is fitted out for each phase."""

    site: Site
    fittings: Fittings = Fittings()  # noqa: RUF009  (frozen)
    way_out: WayOut = closed

    @asynccontextmanager
    async def opened(self, phase: Phase) -> AsyncIterator[Site]:
        """The site as one command of this phase finds it."""
        async with self.way_out(phase) as out:
            yield replace(self.site, fittings=self.fittings + out)
