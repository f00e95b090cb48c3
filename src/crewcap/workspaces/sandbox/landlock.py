"""The second rung: Landlock, for machines that forbid namespaces. No root is needed and none is used.

The command keeps the machine's real paths and sees few of them; TCP is closed by Landlock and every other internet
socket by a filter of calls (`seccomp`); local abstract sockets and signals outward are closed where the kernel can (ABI
6). Its way to the gateway is the run's unix socket. An outlet that has a port on this machine's own loopback opens TCP
to that port number and to no other, which the kernel cannot tie to a host. What a namespace would have given is lost,
and `loses` says so.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined, Layout, Rung
from crewcap.workspaces.sandbox.child import ConfinedChild, Plan, begin
from crewcap.workspaces.sandbox.etc_files import SHARED
from crewcap.workspaces.sandbox.interpreter import beside_usr
from crewcap.workspaces.sandbox.obstacles import explain_landlock, this_machine
from crewcap.workspaces.sandbox.seccomp import MACHINES, filter_program
from crewcap.workspaces.sandbox.supervised import agent_uid, base_environ, here, program
from crewcap.workspaces.sandbox.uids import closed_to, give, is_root, no_users

_CREATE_RULESET = 444
_ASK_VERSION = 1
_NEEDED_ABI = 4  # Linux 6.7, the first that closes TCP
_SCOPES_ABI = 6  # Linux 6.12

# Rights on files, by the ABI that brought them: 13 at first, then refer (2), truncate (3), device control (5).
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_TCP = 3  # bind and connect
_SCOPES = 3  # abstract unix sockets and signals
_RULESET_BYTES = {4: 16, 5: 16}  # of the attributes this ABI knows; 24 from 6 on

_READABLE = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/gnu/store", "/proc"),
    *("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime", *SHARED),
    *("/dev/urandom", "/dev/random", "/dev/zero", "/dev/full", "/sys/devices/system/cpu"),
)
_WRITABLE = ("/dev/null", "/dev/tty")

_ALWAYS_LOST = (
    "the names and command lines of this machine's processes can be read",
    "sockets of other programs that your user may open are open to it, too (ssh-agent)",
    "shared temporary folders are closed to it, and tests that listen on 127.0.0.1 fail",
    "while it may reach its `hosts`, the same port of other machines is open, too, and it cannot listen",
    "there is no process namespace: what it leaves behind is hunted down, by a supervisor that could itself be killed",
)
_LOST_AS_A_PLAIN_USER = (
    "it runs as your own user: modes, owners and times of your files can be changed, not contents",
    "System V shared memory and message queues of your user's programs are open to it",
)
# Who may use one of these may do anything as this user, or as root; and Landlock cannot close sockets that have a path.
_ALMIGHTY = (
    *("/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock", "/run/libvirt/libvirt-sock"),
    *("/run/user/{uid}/bus", "/run/user/{uid}/systemd/private", "/run/user/{uid}/docker.sock"),
    "/run/user/{uid}/podman/podman.sock",
)
_LOST_BEFORE_SCOPES = "it may send signals to your other processes and use their abstract sockets (needs Linux 6.12)"


class Landlock:
    """The rung; see the module."""

    rung: Rung = "landlock"

    @property
    def loses(self) -> tuple[str, ...]:
        """What this rung gives up, on this kernel and as this user."""
        scoped = () if abi() >= _SCOPES_ABI else (_LOST_BEFORE_SCOPES,)
        return (*_ALWAYS_LOST, *(() if is_root() else _LOST_AS_A_PLAIN_USER), *scoped)

    def missing(self) -> str:
        """Why it cannot be used here; empty = it can."""
        if sys.platform != "linux":
            return "it exists on Linux only: run crewcap in a Linux container or virtual machine"
        if abi() < _NEEDED_ABI:
            if abi() < 1:
                return explain_landlock(-abi(), this_machine())
            return f"Landlock {_NEEDED_ABI} is needed, this kernel offers {abi()}: use Linux 6.7 or newer"
        if os.uname().machine not in MACHINES:
            return f"no call numbers for {os.uname().machine} are known"
        return no_users() or _almighty(Path("/"))

    def layout(self, *, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:
        """Everything stays where it is."""
        return here(workspace=workspace, home=home, objects=objects, binary=binary)

    def prepare(self, *, uid: int, owned: tuple[Path, ...]) -> None:
        """Give the run's folders to its user."""
        if is_root():
            for tree in owned:
                give(tree, uid)

    async def start(self, command: Confined, *, uid: int) -> ConfinedChild:
        """Start it; on the thread of the event loop, because its supervisor ends with that thread."""
        if reason := self.missing():
            raise UnsafeEnvironment(f"Landlock cannot be used here: {reason}")
        user = agent_uid(uid)
        _refuse_closed_folders(command, user)
        plan = Plan(
            rung=self.rung,
            program=program,
            environ=base_environ(command),
            uid=user,
            counted="together" if user is None else "apart",
            landlock=_order(command, abi()),
            filter=filter_program(os.uname().machine, tcp=bool(_ports(command))),
        )
        return await begin(command, plan)


@functools.cache
def abi() -> int:
    """The version of Landlock that this kernel offers; 0 or less = none, and the number of the error."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(ctypes.c_long(_CREATE_RULESET), None, 0, _ASK_VERSION))
    return version if version > 0 else -ctypes.get_errno()


def _almighty(root: Path) -> str:
    """A program behind a socket that would do for the agent whatever it asks, outside; root's agents are nobody's."""
    for place in _ALMIGHTY if not is_root() else ():
        socket = root / place.format(uid=os.geteuid()).lstrip("/")
        if socket.is_socket() and os.access(socket, os.W_OK):
            return (
                f"{socket} does anything for your user, and Landlock cannot close it to agents: open bubblewrap, which"
                " can; or start crewcap as a user without it"
            )
    return ""


def _refuse_closed_folders(command: Confined, user: int | None) -> None:
    """Paths are the real ones: another user must be able to pass through all their parents."""
    for mount in command.mounts:
        if user is not None and (closed := closed_to(user, mount.source)):
            raise UnsafeEnvironment(
                f"Landlock as root runs the agent as user {user}, who may not pass through {closed}",
                help=f"`chmod o+x {closed}`, or keep crewcap's state elsewhere: --home /var/lib/crewcap",
            )


def _order(command: Confined, version: int) -> Mapping[str, Any]:
    """What the launcher hands to the kernel."""
    handled = sum(rights for since, rights in _FILE_RIGHTS.items() if since <= version)
    return {
        "size": _RULESET_BYTES.get(version, 24),
        "handled_files": handled,
        "handled_net": _TCP,
        "scopes": _SCOPES if version >= _SCOPES_ABI else 0,
        "rules": [(path, rights & handled) for path, rights in _rules(command, handled)],
        "ports": _ports(command),
    }


def _ports(command: Confined) -> list[int]:
    """Ports of this machine's own loopback that are ways out."""
    return [outlet.host_port for outlet in command.outlets if outlet.host_port]


def _rules(command: Confined, handled: int) -> Iterator[tuple[str, int]]:
    """(path, rights) of everything that it may see; for a file the kernel takes rights of files only."""
    reading = _EXECUTE | _READ_FILE | _READ_DIR
    shown = [mount.source for mount in command.mounts if not mount.writable]
    owned = [mount.source for mount in command.mounts if mount.writable]
    door = [outlet.socket for outlet in command.outlets]
    yield from _existing((*_READABLE, *beside_usr(), *shown), reading)
    yield from _existing((*_WRITABLE, *owned, *door), handled)


def _existing(paths: Iterable[str | Path], rights: int) -> Iterator[tuple[str, int]]:
    for path in map(Path, paths):
        if path.exists():
            yield str(path.resolve()), rights if path.is_dir() else rights & _ON_FILES
