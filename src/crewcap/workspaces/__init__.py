"""Floor 2: where a run works: its clone, and the sandbox around it.

The ladder, strongest first: `bubblewrap`, `landlock`, `unconfined`. `auto` takes the first two by itself and never
the third; each rung says in words what it gives up (`loses`). Nothing slides down silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Rung = Literal["bubblewrap", "landlock", "unconfined"]
LADDER: tuple[Rung, ...] = ("bubblewrap", "landlock", "unconfined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A host path that the sandbox sees at `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """A way out: 127.0.0.1:`port` inside is served by whoever listens at `socket` on our side (see `handout`)."""

    socket: Path
    port: int
    host_port: int = 0  # the same on this machine's own loopback, for a rung that has none of its own; 0 = not offered


@dataclass(frozen=True, slots=True, kw_only=True)
class Fittings:
    """What a project needs inside beside its own tree: toolchains, services, secrets, ways out.

    Each part of it is found by a module of its own and they are put together with `+`; the later one's variables win.
    """

    mounts: tuple[Mount, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: tuple[str, ...] = ()  # folders, as seen inside, that come before the rest of $PATH
    outlets: tuple[Outlet, ...] = ()
    attend: tuple[str, ...] = ()  # words before every command's own: start what it needs, then become the command
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    said: tuple[str, ...] = ()  # a sentence each for people: what was fitted, what is loosened

    def __add__(self, other: Fittings) -> Fittings:
        """Both of them."""
        return Fittings(
            mounts=self.mounts + other.mounts,
            environ={**self.environ, **other.environ},
            path=self.path + other.path,
            outlets=self.outlets + other.outlets,
            attend=self.attend + other.attend,
            files={**self.files, **other.files},
            said=self.said + other.said,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use; None = not limited. `enforced` on the child says which of them hold here."""

    memory_bytes: int | None = 8 << 30
    cpus: int | None = None  # that it may keep busy at the same time
    processes: int | None = 2_000  # and threads
    disk_bytes: int | None = 20 << 30  # in all folders that it may write
    file_bytes: int | None = 4 << 30
    output_bytes: int = 256 << 20  # of stdout and stderr together; more ends the process
    free_bytes: int = 256 << 20  # what it leaves free on the disk of its folders, whoever filled the rest

    def asked(self) -> tuple[str, ...]:
        """Names, as people read them, of the limits that are set."""
        return tuple(name for field_, name in LIMIT_NAMES.items() if getattr(self, field_) is not None)


LIMIT_NAMES: Mapping[str, str] = {
    "memory_bytes": "memory",
    "cpus": "cpus",
    "processes": "processes",
    "disk_bytes": "disk",
    "file_bytes": "file size",
    "output_bytes": "output",
    "free_bytes": "free disk space",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """One command to start inside a sandbox. Paths in argv, environ and cwd are as seen inside."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    cwd: str
    mounts: tuple[Mount, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)  # made inside before the start
    outlets: tuple[Outlet, ...] = ()  # every way out that there is
    limits: Limits = Limits()
    register: Path | None = None  # folder in which it is written down while it lives (`sandbox/register`)
    terminal: int | None = None  # descriptor of one that becomes its own, and its three streams


class Child(Protocol):
    """A confined process."""

    pid: int
    limit_hit: str  # name of the limit that ended it; empty = none did
    limits_met: tuple[str, ...]  # names of those at which a process of it was ended or refused; known at its end
    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @property
    def enforced(self) -> tuple[str, ...]:
        """Names of the limits that hold here, of those that `Limits.asked` names."""
        ...

    @property
    def unenforced(self) -> tuple[str, ...]:
        """Names of those that were asked for and do not."""
        ...

    async def wait(self) -> int:
        """Its exit status; negative = ended by that signal."""
        ...

    async def stop(self, *, ask_s: float = 10.0, term_s: float = 10.0) -> int:
        """Ask (SIGINT), then SIGTERM, then SIGKILL to everything in it; its exit status."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things lie for a process inside: bubblewrap maps them to fixed places, Landlock keeps the real ones."""

    workspace: str
    home: str
    objects: str  # the mirror's objects, read-only
    binary: str
    loopback: bool  # has a loopback of its own: the gateway is at 127.0.0.1:gateway_port


class Sandbox(Protocol):
    """One rung."""

    rung: Rung

    @property
    def loses(self) -> tuple[str, ...]:
        """What this rung gives up here, each a short sentence."""
        ...

    def missing(self) -> str:
        """Why it cannot be used here, and after a colon what opens it; empty = it can. Really tried, cached."""
        ...

    def layout(self, *, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:
        """Where a run's things will be seen inside."""
        ...

    def prepare(self, *, uid: int, owned: tuple[Path, ...]) -> None:
        """Give the run's own folders to the run's uid, where this rung uses one."""
        ...

    async def start(self, command: Confined, *, uid: int) -> Child:
        """Start it; called on the event loop's own thread, which outlives it."""
        ...


def _bubblewrap() -> Sandbox:
    from crewcap.workspaces.sandbox.bubblewrap import Bubblewrap  # noqa: PLC0415

    return Bubblewrap()


def _landlock() -> Sandbox:
    from crewcap.workspaces.sandbox.landlock import Landlock  # noqa: PLC0415

    return Landlock()


def _unconfined() -> Sandbox:
    from crewcap.workspaces.sandbox.unconfined import Unconfined  # noqa: PLC0415

    return Unconfined()


SANDBOXES: Mapping[Rung, Callable[[], Sandbox]] = {
    "bubblewrap": _bubblewrap,
    "landlock": _landlock,
    "unconfined": _unconfined,
}
