"""Who lives in a run's sandboxes, written down before it may begin: what outlives its owner can be found and ended.

The theory. A sandbox ends with the process that started it: bubblewrap by the kernel's word, the other rungs by their
supervisor. A supervisor can be killed or stopped, though, together with its owner (by the kernel for its memory, by an
agent on the last rung, which runs as our own user), and what it had below it lives on. So whoever starts a command
leaves a file in the run's folder while the command still waits for its word: the owner, the outer process and the
command, each by pid *and* start time, the run's own user if it has one, its control groups, and a mark that every
descendant carries in its environment. The file goes when the last of them is gone. A file whose owner is dead tells of
orphans; `runner/worker/orphans` ends them. A process that shares neither of these with a file is never taken for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from crewcap.workspaces.sandbox.outer import stat_of

FOLDER = "processes"  # below a run's own
MARK = "CREWCAP_PROCESS"  # variable that every process of a supervised command inherits
_ENDING = ".json"
_STARTED = 19  # field of /proc/PID/stat, counted from the state


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command in a sandbox."""

    mark: str
    machine: str  # which boot, and which namespace its numbers count in
    owner: int  # the process of ours that started it
    owner_started: str
    outer: int  # bubblewrap, or the supervisor
    outer_started: str
    command: int
    command_started: str
    uid: int | None = None  # a user of the run's own
    groups: tuple[str, ...] = ()  # control groups, as folders

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its numbers mean anything here and now."""
        return self.machine == this_machine()

    @property
    def is_of_this_boot(self) -> bool:
        """Whether anything of it can be alive at all."""
        return self.machine.partition(" ")[0] == this_machine().partition(" ")[0]

    @property
    def is_owned(self) -> bool:
        """Whether who started it is alive, and sees to its end."""
        return bool(self.owner_started) and start_time(self.owner) == self.owner_started


def new_mark() -> str:
    """One that nobody can guess: what carries it was started by us, or by what we started."""
    return secrets.token_hex(16)


def enter(folder: Path, entry: Entry) -> None:
    """Write it down, whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / f"{entry.mark}{_ENDING}"
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(entry)), encoding="utf-8")
    fresh.rename(place)


def strike(folder: Path, mark: str) -> None:
    """Everything of it is gone."""
    with contextlib.suppress(OSError):
        (folder / f"{mark}{_ENDING}").unlink(missing_ok=True)


def entries(folder: Path) -> Iterator[Entry]:
    """What is written down there; a file that cannot be read tells of nobody: nobody begins before it is whole."""
    for place in sorted(folder.glob(f"*{_ENDING}")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(place.read_text(encoding="utf-8"))
            yield Entry(**{**said, "groups": tuple(said["groups"])})


def start_time(pid: int) -> str:
    """When a living process started, in the kernel's ticks since boot; empty where it is gone."""
    fields = stat_of(pid)
    return fields[_STARTED] if fields and fields[0] not in "ZX" else ""


def this_machine() -> str:
    """This boot, and the namespace in which we count processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def myself() -> tuple[int, str]:
    """This process, as an owner."""
    return os.getpid(), start_time(os.getpid())
