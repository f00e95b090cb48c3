"""What each phase of a run finds in its sandbox.

    setup    the project's fittings, and a way out to the hosts of `hosts`, and to nothing else
    check    the project's fittings and secrets, nothing that leads out
    agent    the same, and the gateway (its door is the agent's own: see `doors`)
    shell    the same, without the gateway and without a key
    git      the run's own tree alone: `Rooms.site`

With `hosts_during_run = true` check, agent and shell have setup's way out as well; otherwise a shell has it when it is
asked for. The ports that settings let in are there in every phase but git's. What leads out is opened for one phase and
closed behind it. Setup has its way out even where no host is listed, so that what it asked for is known by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from crewcap.runner.lending import LENT_IN
from crewcap.runner.process import Site
from crewcap.workspaces import Fittings
from crewcap.workspaces.project.services import or_without

Phase = Literal["setup", "check", "agent", "shell"]
Out = Callable[[Phase], AbstractAsyncContextManager[Fittings]]


@asynccontextmanager
async def closed(phase: Phase) -> AsyncIterator[Fittings]:
    """Nothing leads out."""
    del phase
    yield Fittings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """A run's site, and how it is fitted out for each phase."""

    site: Site
    fittings: Fittings = Fittings()  # noqa: RUF009  (frozen)
    secrets: Fittings = Fittings()  # noqa: RUF009  (frozen)
    hosts: Out = closed
    ports: Out = closed
    hosts_during_run: bool = False

    @asynccontextmanager
    async def opened(self, phase: Phase, *, network: bool = False) -> AsyncIterator[Site]:
        """The site as the commands of this phase find it; `network` = with setup's way out, whatever the phase."""
        leads_out = network or phase == "setup" or self.hosts_during_run
        fitted = self.fittings + (self.secrets if phase in LENT_IN else Fittings())
        async with self.ports(phase) as ports, (self.hosts if leads_out else closed)(phase) as hosts:
            fitted = fitted + ports + hosts
            yield replace(self.site, fittings=or_without(fitted) if phase == "shell" else fitted)
