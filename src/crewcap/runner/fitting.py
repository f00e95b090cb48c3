"""A run's site fitted out, in one place for all who open one: a run, `doctor --repo`, a person's shell.

What a project needs inside is found by modules of their own, each of which knows nothing of the others; here they are
put together, in the order in which a later one's variables win: toolchains, the agent's own program, services, ports,
secrets. The way out is opened for each phase anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from crewcap.home import Home
from crewcap.runner.process import Site
from crewcap.runner.rooms import Rooms
from crewcap.settings.models import RepoSettings, Settings
from crewcap.workspaces import Fittings, Sandbox
from crewcap.workspaces.executables import find_needs
from crewcap.workspaces.mirrors import Mirrors
from crewcap.workspaces.repositories import Repository
from crewcap.workspaces.services import find_services
from crewcap.workspaces.toolchains import find_toolchains

PASSABLE = 0o711  # where the agent is a user of its own it must be able to walk through, and to see nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What every run of a home stands on."""

    home: Home
    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    sandbox: Sandbox
    mirrors: Mirrors
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What one run has of its own."""

    repository: Repository
    commit: str  # that it starts from
    project: RepoSettings
    folder: Path  # in the state directory
    uid: int
    binary: Path | None = None  # the agent's program; a visit needs none


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A run's site, ready for its phases."""

    rooms: Rooms
    toolchains: tuple[str, ...] = ()  # a sentence each
    said: tuple[str, ...] = ()  # what else was fitted


def site_of(grounds: Grounds, plot: Plot) -> Site:
    """A run's folders and the sandbox around them, and nothing else."""
    workspace, home = plot.folder / "workspace", plot.folder / "home"
    objects = grounds.mirrors.objects(plot.repository)
    binary = plot.binary or Path("/nonexistent")
    return Site(
        sandbox=grounds.sandbox,
        layout=grounds.sandbox.layout(workspace=workspace, home=home, objects=objects, binary=binary),
        uid=plot.uid,
        workspace=workspace,
        home=home,
        objects=objects,
        binary=plot.binary,
    )


def fit_out(grounds: Grounds, plot: Plot) -> Fitted:
    """Find everything that the project needs; `UnsafeEnvironment` names what this machine has not. It blocks."""
    site = site_of(grounds, plot)
    toolchains = find_toolchains(
        lambda path: grounds.mirrors.file(plot.repository, at=plot.commit, path=path),
        user_home=Path(grounds.environ.get("HOME") or "/"),
        home=site.layout.home,
        tools=plot.project.tools,
        environ=grounds.environ,
        forbidden=(grounds.home.root,),
    )
    program = find_needs(plot.binary, environ=grounds.environ) if plot.binary else Fittings()
    services = find_services(plot.project.services, layout=site.layout, path=grounds.environ.get("PATH"))
    fittings = toolchains + program + services
    return Fitted(
        rooms=Rooms(site=site, fittings=fittings),
        toolchains=toolchains.said,
        said=(*program.said, *services.said),
    )
