"""A run's site fitted out, in one place for all who open one: a run, `doctor --repo`, a person's shell.

What a project needs inside is found by modules of their own, each of which knows nothing of the others; here they are
put together, in the order in which a later one's variables win: what git borrows, toolchains, the agent's own program,
services, secrets. What leads out is opened for each phase anew (`rooms`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from crewcap.core.scrub import Scrubber
from crewcap.home import Home
from crewcap.runner.lending import Lent, lend_files, lent, lent_files, secrets_of
from crewcap.runner.named_places import said_at
from crewcap.runner.process import Site
from crewcap.runner.rooms import Phase, Rooms, closed
from crewcap.settings.models import RepoSettings, Settings
from crewcap.workspaces import Fittings, Limits, Sandbox
from crewcap.workspaces.egress.allowed import allowed_of
from crewcap.workspaces.egress.environ import system_bundle, trust_environ
from crewcap.workspaces.egress.log import NAME
from crewcap.workspaces.egress.opening import egress
from crewcap.workspaces.egress.ports import Address, relayed
from crewcap.workspaces.egress.rules import Allowed
from crewcap.workspaces.project.containers import wants_containers
from crewcap.workspaces.project.executables import find_needs
from crewcap.workspaces.project.prepared import PreparedTrees
from crewcap.workspaces.project.recipes import Recipe
from crewcap.workspaces.project.services import find_services
from crewcap.workspaces.project.toolchains import find_toolchains
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.repository.supplies import Extent, Supply

PASSABLE = 0o711  # where the agent is a user of its own it must be able to walk through, and to see nothing
OWNER = "owner"  # who sits at the keyboard, as `core/trust` calls it


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

    repo: str  # its name in the settings
    repository: Repository
    base: Base
    project: RepoSettings
    folder: Path  # in the state directory
    uid: int
    trust: str = ""  # what whoever wrote the issue may do in the repository
    binary: Path | None = None  # the agent's program; a visit needs none


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A run's site, ready for its phases."""

    grounds: Grounds
    plot: Plot
    rooms: Rooms
    supply: Supply
    secrets: tuple[Fittings, Scrubber] = field(repr=False)
    toolchains: tuple[str, ...] = ()  # a sentence each
    said: tuple[str, ...] = ()  # what else was fitted
    wanting: tuple[str, ...] = ()  # what the project wants and cannot have here, with the way round

    @property
    def network_log(self) -> Path:
        """Where every connection of the run is written down."""
        return self.plot.folder / NAME

    @property
    def source(self) -> Path | None:
        """The user's own working folder, where the repository has one here."""
        local = self.plot.repository.local
        return local if local != self.plot.repository.git_dir else None


def site_of(grounds: Grounds, plot: Plot) -> Site:
    """A run's folders and the sandbox around them, and nothing else."""
    workspace, home = plot.folder / "workspace", plot.folder / "home"
    objects = grounds.mirrors.objects(plot.repository)
    binary = plot.binary or Path("/nonexistent")
    layout = grounds.sandbox.layout(workspace=workspace, home=home, objects=objects, binary=binary)
    is_script = plot.binary is not None and bool(find_needs(plot.binary, environ=grounds.environ).mounts)
    if is_script:  # it finds its package and its interpreter from where it lies, and there it is shown
        layout = replace(layout, binary=str(binary.resolve()))
    return Site(
        sandbox=grounds.sandbox,
        layout=layout,
        uid=plot.uid,
        workspace=workspace,
        home=home,
        objects=objects,
        binary=None if is_script else plot.binary,
        limits=limits_of(grounds.settings, plot.project),
    )


def limits_of(settings: Settings, project: RepoSettings) -> Limits:
    """What a run of this project may use: what is set for it, else for all."""
    defaults = settings.defaults
    return Limits(
        memory_bytes=project.memory_bytes or defaults.memory_bytes,
        cpus=project.cpus or defaults.cpus,
        disk_bytes=project.disk_bytes or defaults.disk_bytes,
        processes=defaults.processes,
    )


def fit_out(grounds: Grounds, plot: Plot) -> Fitted:
    """Fetch and find everything that the project needs; `UnsafeEnvironment` names what cannot be had. It blocks."""
    project, environ = plot.project, grounds.environ
    site = site_of(grounds, plot)
    extent = Extent(paths=project.paths, submodules=project.submodules, lfs=project.lfs)
    supply = grounds.mirrors.supply(plot.repository, base=plot.base, extent=extent)
    borrowed = supply.fittings(objects_inside=site.layout.objects)
    allowed = allowed_of(grounds.settings, plot.repo, project.hosts, environ=environ)
    secrets = secrets_of(project, allowed, trust=plot.trust, environ=environ)
    toolchains, others = find_fittings(grounds, plot, site)
    rooms = Rooms(
        site=replace(site, fittings=borrowed),
        fittings=_trusted(site) + borrowed + toolchains + others,
        secrets=secrets[0],
        hosts=closed if site.sandbox.rung == "unconfined" else _hosts(grounds, plot, site, allowed),
        ports=_ports(grounds, plot),
        hosts_during_run=project.hosts_during_run,
    )
    return Fitted(
        grounds=grounds,
        plot=plot,
        rooms=rooms,
        supply=supply,
        secrets=secrets,
        toolchains=toolchains.said,
        said=(*others.said, *borrowed.said),
        wanting=_containers(grounds, plot),
    )


def find_fittings(grounds: Grounds, plot: Plot, site: Site) -> tuple[Fittings, Fittings]:
    """The project's toolchains, and what else of this machine is shown: the agent's program, services. It blocks."""
    with said_at(grounds.settings, "repos", plot.repo, "tools"):
        toolchains = find_toolchains(
            lambda path: grounds.mirrors.file(plot.repository, at=plot.base.commit, path=path),
            user_home=Path(grounds.environ.get("HOME") or "/"),
            home=site.layout.home,
            tools=plot.project.tools,
            environ=grounds.environ,
            forbidden=(grounds.home.root,),
        )
    program = find_needs(plot.binary, environ=grounds.environ) if plot.binary else Fittings()
    services = find_services(plot.project.services, layout=site.layout, path=grounds.environ.get("PATH"))
    return toolchains, program + services


def furnish(fitted: Fitted) -> Lent:
    """Copy what `include` names into a new workspace. It blocks."""
    plot, site = fitted.plot, fitted.rooms.site
    included = lend_files(
        plot.project,
        trust=plot.trust,
        source=fitted.source,
        workspace=site.workspace,
        folder=plot.folder,
        uid=site.uid,
    )
    return lent(fitted.secrets, included)


def recall(fitted: Fitted) -> Lent:
    """What an earlier start of the run was lent. It blocks."""
    return lent(fitted.secrets, lent_files(fitted.plot.folder, source=fitted.source))


def prepared_trees(grounds: Grounds) -> PreparedTrees:
    """The trees that setups of this home left behind."""
    return PreparedTrees(grounds.home.prepared, grounds.clock)


def recipe_of(fitted: Fitted, included: Collection[str]) -> Recipe:
    """What the result of this run's setup will depend on; `included` = names of files that were copied. It blocks."""
    plot, site = fitted.plot, fitted.rooms.site
    files = (f"{name} {_digest(site.workspace / name)}" for name in sorted(included))
    services = (line for line in fitted.said if line.startswith(tuple(plot.project.services)))  # with their versions
    return Recipe(
        repository=plot.repository.mirror_name,
        tracked=fitted.grounds.mirrors.tracked(plot.repository, at=plot.base.commit),
        setup=plot.project.setup,
        workspace=site.layout.workspace,
        home=site.layout.home,
        toolchains=fitted.toolchains,
        others=(*plot.project.hosts, *services, *plot.project.paths, site.sandbox.rung, *files),
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _trusted(site: Site) -> Fittings:
    """Where the network is simply open, package tools must trust what this machine trusts; else the way out says it."""
    bundle = system_bundle() if site.sandbox.rung == "unconfined" else None
    return Fittings(environ=trust_environ(str(bundle))) if bundle else Fittings()


def _hosts(
    grounds: Grounds, plot: Plot, site: Site, allowed: Allowed
) -> Callable[[Phase], AbstractAsyncContextManager[Fittings]]:
    """The way out to the project's package hosts."""

    def opened(phase: Phase) -> AbstractAsyncContextManager[Fittings]:
        return egress(
            allowed,
            phase=phase,
            log=plot.folder / NAME,
            loopback=site.layout.loopback,
            home=site.layout.home,
            clock=grounds.clock,
        )

    return opened


def _ports(grounds: Grounds, plot: Plot) -> Callable[[Phase], AbstractAsyncContextManager[Fittings]]:
    """The ports of this machine that the operator lets in."""

    def opened(phase: Phase) -> AbstractAsyncContextManager[Fittings]:
        del phase
        never = _metered(grounds)
        return relayed(plot.project.ports, uid=plot.uid, rung=grounds.sandbox.rung, never=never)

    return opened


def _metered(grounds: Grounds) -> Collection[Address]:
    """Where models are reached: no port may lead around the meter."""
    urls = [provider.base_url for provider in grounds.settings.providers.values()]
    with suppress(OSError, ValueError, KeyError):
        urls.append(str(json.loads(grounds.home.gateway_note.read_text())["url"]))
    parts = [urlsplit(url) for url in urls]
    return {(part.hostname, part.port or (443 if part.scheme == "https" else 80)) for part in parts if part.hostname}


def _containers(grounds: Grounds, plot: Plot) -> tuple[str, ...]:
    line = wants_containers(
        lambda path: grounds.mirrors.file(plot.repository, at=plot.base.commit, path=path),
        commands=(plot.project.setup, plot.project.check),
    )
    return (line,) if line else ()
