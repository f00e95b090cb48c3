"""What a run may use, as far as this machine lets us enforce it; every limit that does not hold is named as such.

Memory, processors and processes of a whole run can only be counted by a control group (`cgroups`). Without one, the
number of processes still has a limit, counted for the run's own user (or user namespace) where it has one, else on top
of what our user runs already. Memory then has none: the kernel's limits for single processes count what is reserved,
not what is used (measured: an idle agent of 0.2 GB reserves 5.5 GB). Nor have processors: a process may undo what pins
it to some. The size of one file is the kernel's affair; that of all together is looked at (`watch`), and so is what
the run leaves free.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from crewcap.workspaces import Limits
from crewcap.workspaces.sandbox.cgroups import Cage, read

# How the kernel counts a run's processes: for itself, with all others of our user, or (for root) not at all.
Counted = Literal["apart", "together", "never"]
_COUNTED_BY_NAMESPACE = (5, 14)  # Linux: RLIMIT_NPROC counts inside a user namespace alone since then
TEMPORARY_BYTES, SHARED_BYTES = 4 << 30, 1 << 30  # of /tmp, and of /dev/shm
_OPEN_FILES = 65_536  # of one process: what it holds open is memory of the kernel's


def process_limits(limits: Limits, *, counted: Counted) -> dict[str, int]:
    """Limits that the kernel counts for each process or user."""
    others = tasks_of(os.geteuid()) if counted == "together" else 0
    processes = None if counted == "never" or limits.processes is None else limits.processes + others
    largest = min((size for size in (limits.file_bytes, limits.disk_bytes) if size is not None), default=None)
    chosen = {"fsize": largest, "nproc": processes, "nofile": _OPEN_FILES}
    return {name: most for name, most in chosen.items() if most is not None}


def no_more(size: int, limits: Limits) -> int:
    """What a temporary file system of this size may hold: its files are memory, and they are files."""
    return min(most for most in (size, limits.memory_bytes, limits.disk_bytes) if most is not None)


def namespace_counts_apart() -> bool:
    """Whether a user namespace has a count of processes of its own."""
    numbers = re.findall(r"\d+", os.uname().release)
    return tuple(int(n) for n in numbers[:2]) >= _COUNTED_BY_NAMESPACE


def names_enforced(limits: Limits, cage: Cage | None, rlimits: Mapping[str, int]) -> tuple[str, ...]:
    """The limits that hold, in the order of `Limits`."""
    holds = set(cage.enforced if cage else ()) | {"output", "free disk space"}
    holds |= {name for short, name in (("fsize", "file size"), ("nproc", "processes")) if short in rlimits}
    holds |= {"disk"} if can_measure() else set()
    return tuple(name for name in limits.asked() if name in holds)


def can_measure() -> bool:
    """Whether there is a program that says what a tree holds."""
    return shutil.which("du") is not None


def tasks_of(uid: int) -> int:
    """Threads of all processes of a user."""
    return sum(map(_threads, _processes(lambda entry: entry.stat().st_uid == uid)))


def tasks_in_namespace(pid: int) -> int:
    """Threads of all processes of the process namespace that this one is in."""
    try:
        whose = Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return 0
    return sum(map(_threads, _processes(lambda entry: (entry / "ns/pid").readlink() == whose)))


def _processes(is_meant: Callable[[Path], bool]) -> Iterator[Path]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and is_meant(entry):
                yield entry


def _threads(entry: Path) -> int:
    return int((re.findall(r"^Threads:\t(\d+)$", read(entry / "status"), re.MULTILINE) or ["0"])[0])
