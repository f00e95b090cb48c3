"""What a run may use, as far as this machine lets us enforce it.

Memory and processes of a whole run can only be counted by a control group: v2 where one was delegated to us, else v1
where we may write. Without one, the number of processes still has a limit, counted for the run's own user (or user
namespace) where it has one, else on top of what our user runs already. Memory then has none: the kernel's limits for
single processes count what is reserved, not what is used (measured: an idle agent of 0.2 GB reserves 5.5 GB).
`enforced` names what holds, so that nobody is told otherwise.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crewcap.workspaces import Limits

# How the kernel counts a run's processes: for itself, with all others of our user, or (for root) not at all.
Counted = Literal["apart", "together", "never"]
_PREFIX = "crewcap"
_COUNTED_BY_NAMESPACE = (5, 14)  # Linux: RLIMIT_NPROC counts inside a user namespace alone since then
_REMOVE_TRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cage:
    """A control group of one run: one folder in v2, one a controller in v1."""

    folders: tuple[Path, ...]
    enforced: tuple[str, ...]

    def add(self, pid: int) -> bool:
        """Put a process in, before it forks; whether the kernel let us."""
        try:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
        except OSError:
            return False
        return True

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended something in it for its memory."""
        return any(
            int(count) > 0
            for folder in self.folders
            for name in ("memory.events", "memory.oom_control")
            for count in re.findall(r"^oom_kill (\d+)$", _read(folder / name), re.MULTILINE)
        )

    def kill(self) -> None:
        """End everything in it."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.kill").write_text("1", encoding="ascii")
            for pid in _read(folder / "cgroup.procs").split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Take the folders away; the kernel may need a moment after the last process."""
        for folder, attempt in itertools.product(self.folders, range(_REMOVE_TRIES)):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                time.sleep(0.001 if attempt < 10 else 0.005)


def make_cage(limits: Limits) -> Cage | None:
    """A control group that holds these limits, as far as one can be had here."""
    wanted = {"memory": limits.memory_bytes, "pids": limits.processes}
    amounts = {controller: amount for controller, amount in wanted.items() if amount is not None}
    for base in _unified_bases():
        offered = _read(base / "cgroup.subtree_control").split()
        usable = {controller: amount for controller, amount in amounts.items() if controller in offered}
        if usable and (cage := _make({base: usable})):
            return cage
    return _make({base: {c: amounts[c]} for c, base in _legacy_bases() if c in amounts})


def process_limits(limits: Limits, *, counted: Counted) -> dict[str, int]:
    """Limits that the kernel counts for each process or user."""
    others = _tasks_of_ours() if counted == "together" else 0
    processes = None if counted == "never" or limits.processes is None else limits.processes + others
    chosen = {"fsize": limits.file_bytes, "nproc": processes}
    return {name: most for name, most in chosen.items() if most is not None}


def namespace_counts_apart() -> bool:
    """Whether a user namespace has a count of processes of its own."""
    numbers = re.findall(r"\d+", os.uname().release)
    return tuple(int(n) for n in numbers[:2]) >= _COUNTED_BY_NAMESPACE


def names_enforced(cage: Cage | None, rlimits: Mapping[str, int]) -> tuple[str, ...]:
    """The limits that hold, in the order of `Limits`."""
    holds = set(cage.enforced if cage else ()) | {"output_bytes"}
    holds |= {name for short, name in (("fsize", "file_bytes"), ("nproc", "processes")) if short in rlimits}
    return tuple(name for name in Limits.__dataclass_fields__ if name in holds)


_LIMIT_FILES = {
    "memory": ("memory_bytes", ("memory.max", "memory.limit_in_bytes"), ("memory.memsw.limit_in_bytes",)),
    "pids": ("processes", ("pids.max",), ()),
}


def _make(places: Mapping[Path, Mapping[str, int]]) -> Cage | None:
    """Make a folder below each place and write the limits there; None when nothing could be limited."""
    name = f"{_PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"
    folders, enforced = [], []
    for base, amounts in places.items():
        _sweep(base)
        folder = base / name
        try:
            folder.mkdir()
        except OSError:
            continue
        held = [_limit(folder, controller, amount) for controller, amount in amounts.items()]
        enforced += [limit for limit in held if limit]
        folders.append(folder)
    cage = Cage(folders=tuple(folders), enforced=tuple(enforced))
    if cage.enforced:
        return cage
    cage.remove()
    return None


def _limit(folder: Path, controller: str, amount: int) -> str:
    """Write one limit; the name of what holds now, or nothing."""
    name, files, also = _LIMIT_FILES[controller]
    for file in files:
        with contextlib.suppress(OSError):
            _overwrite(folder / file, str(amount))
            for extra, value in [*((file, str(amount)) for file in also), ("memory.swap.max", "0")]:
                with contextlib.suppress(OSError):
                    _overwrite(folder / extra, value)
            return name
    return ""


def _sweep(base: Path) -> None:
    """Remove empty groups that a killed crewcap left behind."""
    for folder in base.glob(f"{_PREFIX}-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _unified_bases() -> Iterator[Path]:
    """Folders of the v2 tree below which a group of ours may lie: beside our own, then below the root."""
    mounts = [target for kind, target, _ in _cgroup_mounts() if kind == "cgroup2"]
    own = _own_groups().get("", "/").lstrip("/")
    for mount in mounts:
        yield from dict.fromkeys(((mount / own).parent if own else mount, mount / own, mount))


def _legacy_bases() -> Iterator[tuple[str, Path]]:
    """(controller, our own folder) in the v1 trees."""
    own = _own_groups()
    for kind, target, options in _cgroup_mounts():
        for controller in ("memory", "pids"):
            if kind == "cgroup" and controller in options:
                place = target / own.get(controller, "/").lstrip("/")
                yield controller, place if place.is_dir() else target


def _cgroup_mounts() -> Iterator[tuple[str, Path, list[str]]]:
    """(kind, where, options) of every mounted control group tree."""
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind.startswith("cgroup"):
            yield kind, Path(left.split(" ")[4]), options.split(",")


def _own_groups() -> dict[str, str]:
    """Controller -> our own group; the v2 tree has the empty name."""
    lines = (line.split(":", 2) for line in _read(Path("/proc/self/cgroup")).splitlines())
    return {name: group for _, names, group in lines for name in names.split(",")}


def _tasks_of_ours() -> int:
    """Threads of all processes of our user."""
    found = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                found += int((re.findall(r"^Threads:\t(\d+)$", _read(entry / "status"), re.MULTILINE) or ["0"])[0])
    return found


def _overwrite(path: Path, text: str) -> None:
    """Write to a file that must exist: these trees would not let us make one."""
    with path.open("r+", encoding="ascii") as file:
        file.write(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
