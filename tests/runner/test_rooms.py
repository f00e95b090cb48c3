"""What leads out of each phase's room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crewcap.runner.process import Site
from crewcap.runner.rooms import Phase, Rooms
from crewcap.workspaces import Fittings
from crewcap.workspaces.sandbox.unconfined import Unconfined

PHASES: tuple[Phase, ...] = ("setup", "check", "agent", "shell")


@asynccontextmanager
async def out(phase: Phase) -> AsyncIterator[Fittings]:
    """A way out that is known by its variable."""
    yield Fittings(environ={"OUT": phase})


def phases_with_a_way_out(folder: Path, *, hosts_during_run: bool, network: bool = False) -> list[Phase]:
    sandbox = Unconfined()
    layout = sandbox.layout(workspace=folder, home=folder, objects=folder, binary=folder)
    site = Site(sandbox=sandbox, layout=layout, uid=0, workspace=folder, home=folder, objects=folder, binary=None)
    rooms = Rooms(site=site, hosts=out, hosts_during_run=hosts_during_run)

    async def leads_out(phase: Phase) -> bool:
        async with rooms.opened(phase, network=network) as room:
            return room.fittings.environ.get("OUT") == phase

    return [phase for phase in PHASES if asyncio.run(leads_out(phase))]


def test_setup_alone_has_a_way_out(tmp_path: Path) -> None:
    assert phases_with_a_way_out(tmp_path, hosts_during_run=False) == ["setup"]


def test_with_hosts_during_the_run_a_shell_has_what_the_agent_has(tmp_path: Path) -> None:
    assert phases_with_a_way_out(tmp_path, hosts_during_run=True) == list(PHASES)


@pytest.mark.parametrize("during", [True, False])
def test_a_way_out_that_is_asked_for_is_there(tmp_path: Path, *, during: bool) -> None:
    assert phases_with_a_way_out(tmp_path, hosts_during_run=during, network=True) == list(PHASES)
