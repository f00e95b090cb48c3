"""What lies in a workspace and is not in the mirror yet, saved there before the workspace goes.

A run that ends in its own way has brought its work home. One that was killed and then stopped by hand has not, nor has
a person who went on in `crewcap shell`. So the workspace is asked once more, inside its sandbox, as at the end of a
run; each tip whose files the mirror does not know yet is kept there under `refs/crewcap/saved/BRANCH/COMMIT`. The
branch, and what is known of the run, stay as they are. What cannot be taken that way keeps the workspace where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.core.runs import Run, Verdict
from crewcap.errors import CrewcapError
from crewcap.runner.fitting import Plot, site_of
from crewcap.runner.grounds import grounds_of, repository_of
from crewcap.runner.house import House
from crewcap.runner.lending import lent_files
from crewcap.runner.process import Outcome, Site
from crewcap.workspaces import SANDBOXES, Sandbox
from crewcap.workspaces.repository.harvest import Harvest, harvest
from crewcap.workspaces.repository.leftovers import leave_out
from crewcap.workspaces.repository.locked import open_top
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.repository.review import Spurned
from crewcap.workspaces.repository.supplies import Extent, Supply
from crewcap.workspaces.sandbox.uids import lease

_GIT_S = 600.0
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What became of a workspace's work."""

    saved: tuple[str, ...] = ()  # refs of the mirror that were made for it
    mirror: Path | None = None
    left: str = ""  # why not all of it is in the mirror; empty = it is


async def bring_home(house: House, run: Run) -> Brought:
    """Have everything of a run's workspace in the mirror, or say what is not."""
    if not run.base:
        return Brought()
    sandbox = next((make() for rung, make in SANDBOXES.items() if rung == run.sandbox), None)
    if sandbox is None:
        return Brought(left=f"it cannot be looked into: there is no sandbox {run.sandbox!r}")
    if missing := await asyncio.to_thread(sandbox.missing):
        return Brought(left=f"it cannot be looked into, because {run.sandbox} is not to be had: {missing}")
    leased = lease(house.home.root / "uids")
    try:
        return await _bring(house, run, sandbox, leased.uid)
    except (CrewcapError, OSError) as error:
        return Brought(left=f"it cannot be looked into: {error}")
    finally:
        leased.release()


async def _bring(house: House, run: Run, sandbox: Sandbox, uid: int) -> Brought:
    repository, site, supply = await asyncio.to_thread(_open, house, run, sandbox, uid)
    base = Base(commit=run.base, branch=run.base_branch)
    brought = await _harvested(run, site, supply, without=lent_files(site.workspace.parent, source=None).names)
    saved = await asyncio.to_thread(house.mirrors.save, repository, brought.bundle, base=base, branch=run.branch)
    if isinstance(saved, Spurned):
        return Brought(left=saved.reason)
    large = [
        path
        for ref in saved
        for path, _ in await asyncio.to_thread(house.mirrors.missing_large, repository, base=run.base, tip=ref)
    ]
    return Brought(saved=saved, mirror=house.mirrors.mirror(repository), left=_left(brought, large))


def _open(house: House, run: Run, sandbox: Sandbox, uid: int) -> tuple[Repository, Site, Supply]:
    """The run's site with what git borrows, and nothing else. It blocks."""
    found = repository_of(house, run)
    plot = Plot(
        repo=run.repo,
        repository=found.repository,
        base=found.base,
        project=found.project,
        folder=house.home.run(run.id),
        uid=uid,
    )
    site = site_of(grounds_of(house, found.settings, sandbox), plot)
    extent = Extent(paths=found.project.paths, submodules=found.project.submodules, lfs=found.project.lfs)
    supply = house.mirrors.supply(found.repository, base=found.base, extent=extent)
    for folder in (site.workspace, site.home):
        open_top(folder)
    sandbox.prepare(uid=uid, owned=tuple(folder for folder in (site.workspace, site.home) if folder.is_dir()))
    return found.repository, replace(site, fittings=supply.fittings(objects_inside=site.layout.objects)), supply


async def _harvested(run: Run, site: Site, supply: Supply, *, without: tuple[str, ...]) -> Harvest:
    async def perform(argv: tuple[str, ...], environ: Mapping[str, str]) -> Outcome:
        return await site.perform(argv, timeout_s=_GIT_S, environ=environ)

    if not run.is_prepared and run.verdict == Verdict.SETUP_FAILED:
        await leave_out(perform, keep=site.leftovers)  # what a setup left that failed is nobody's work
    return await harvest(
        perform,
        base=run.base,
        message=f"What lay in the workspace of {run.name}",
        objects=site.layout.objects,
        spare=f"{site.layout.home}/.crewcap-spare.git",
        supply=supply,
        without=without,
        leftovers=site.leftovers,
    )


def _left(brought: Harvest, large: list[str]) -> str:
    """What git cannot take along, in words."""
    kinds = {
        "files in repositories of their own": brought.strays.repositories,
        "files that git could not read or add": brought.untaken,
        "work inside submodules": brought.work_inside,
        "large files whose contents did not come": tuple(large),
    }
    return "; ".join(f"it holds {kind}: {_some(names)}" for kind, names in kinds.items() if names)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join("".join(char for char in name if char.isprintable())[:80] for name in names[:_FEW])
    return f"{shown}, ..." if len(names) > _FEW else shown
