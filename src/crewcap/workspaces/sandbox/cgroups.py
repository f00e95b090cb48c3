"""Control groups: one for each run, made wherever this machine lets us, and what it counted.

Three ways lead to one, tried in this order; the first that holds every limit asked for is taken, else the one that
holds most of them:

1. v2, directly: below a group that was delegated to us (a service with `Delegate=yes`, `systemd-run --user --scope -p
   Delegate=yes`), else beside or above our own where we may write. Controllers are switched on only where nobody else
   manages the tree: in what was delegated, or where no systemd runs. A group that has processes of its own may not
   have children with controllers, so in a delegated group ours move into a leaf first.
2. v1: below our own group in each controller's tree.
3. v2, by asking systemd (`systemd_scope`): a scope of its own for the run.

A run's memory is counted with its temporary file systems. When it is used up the kernel ends one process, not all of
them (`memory.oom.group` stays off): a test that eats too much fails, and the agent sees that. A run that goes on like
that is ended by `watch`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.workspaces import Limits

PREFIX = "crewcap"
CONTROLLERS = {"memory": "memory", "cpu": "cpus", "pids": "processes"}  # -> the name of what it limits
_LEAF = "crewcap-itself"
_PERIOD_US = 100_000
_MOVES = 20
_REMOVE_TRIES = 50
_KILL_ROUNDS = 3
_SYSTEMD = Path("/run/systemd/system")


def overwrite(path: Path, text: str) -> None:
    """Write to a file that must exist: these trees would not let us make one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What the kernel says of control groups on this machine."""

    mounts: tuple[tuple[str, Path, str, tuple[str, ...]], ...]  # (kind, where, which part of the tree, options)
    own: Mapping[str, str]  # controller -> our own group; the v2 tree has the empty name
    is_managed: bool  # by systemd, whose word counts for everything that was not delegated
    busctl: str | None = None  # the program that asks it
    make_folder: Callable[[Path], None] = Path.mkdir  # a kernel puts files in; a test's plain folder has none
    order: Callable[[Path, str], None] = overwrite  # of a kernel that does what is written to it

    def places(self, kind: str, controller: str = "") -> Iterator[tuple[Path, Path]]:
        """(mount, our own group below it) of every mounted tree of this kind with this controller."""
        for mounted, where, part, options in self.mounts:
            if mounted == kind and (not controller or controller in options):
                own = self.own.get(controller, "/")
                within = own.removeprefix(part) if part != "/" else own
                place = where / within.lstrip("/")
                yield where, place if place.is_dir() else where


def this_machine(proc: Path = Path("/proc/self")) -> Tree:
    """Read it."""
    lines = (line.split(":", 2) for line in read(proc / "cgroup").splitlines())
    own = {name: group for _, names, group in lines for name in names.split(",")}
    mounts = tuple(_mounts(read(proc / "mountinfo")))
    is_managed = _SYSTEMD.is_dir()
    return Tree(mounts=mounts, own=own, is_managed=is_managed, busctl=shutil.which("busctl") if is_managed else None)


@dataclass(kw_only=True)
class Cage:
    """A control group of one run: one folder in v2, one a controller in v1."""

    folders: tuple[Path, ...]
    enforced: tuple[str, ...]
    way: str = ""  # in words
    _seen: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, pid: int) -> bool:
        """Put a process in, before it forks; whether the kernel let us."""
        try:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
        except OSError:
            return False
        return True

    def ended_for_memory(self) -> int:
        """How many processes in it the kernel has ended for its memory."""
        return self._count("oom_kill", "memory.events", "memory.oom_control")

    def refused_processes(self) -> int:
        """How many processes and threads were refused because there are too many."""
        return self._count("max", "pids.events")

    def tasks(self) -> int:
        """How many processes and threads it has."""
        return max((int(text) for folder in self.folders if (text := read(folder / "pids.current").strip())), default=0)

    def kill(self) -> None:
        """End everything in it."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                overwrite(folder / "cgroup.kill", "1")
            for number in (signal.SIGSTOP, signal.SIGKILL):  # v1 ends nothing at once: what stands still forks no more
                for _ in range(_KILL_ROUNDS):
                    for pid in read(folder / "cgroup.procs").split():
                        with contextlib.suppress(OSError):
                            os.kill(int(pid), number)

    def remove(self) -> None:
        """Take the folders away; the kernel may need a moment after the last process."""
        for folder, attempt in itertools.product(self.folders, range(_REMOVE_TRIES)):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                time.sleep(0.001 if attempt < 10 else 0.005)

    def _count(self, word: str, *names: str) -> int:
        texts = (read(folder / name) for folder in self.folders for name in names)
        return sum(int(number) for text in texts for number in re.findall(rf"^{word} (\d+)$", text, re.MULTILINE))


def make_cage(limits: Limits, tree: Tree | None = None) -> Cage | None:
    """A control group that holds these limits, as far as one can be had here."""
    from crewcap.workspaces.sandbox.systemd_scope import Scope  # noqa: PLC0415  (it is a cage, too)

    wanted, tree = _wanted(limits), tree or this_machine()
    best: Cage | None = None
    for cage in _every_way(wanted, tree):
        worse, best = (best, cage) if best is None or len(cage.enforced) > len(best.enforced) else (cage, best)
        if worse is not None:
            worse.remove()
        if len(best.enforced) == len(wanted):
            return best
    if wanted and tree.busctl and any(tree.places("cgroup2")):
        return Scope.asked(wanted, busctl=tree.busctl, otherwise=best)
    return best


def _wanted(limits: Limits) -> dict[str, int]:
    """Controller -> how much of it."""
    amounts = {"memory": limits.memory_bytes, "cpu": limits.cpus, "pids": limits.processes}
    return {controller: amount for controller, amount in amounts.items() if amount is not None}


def _every_way(wanted: Mapping[str, int], tree: Tree) -> Iterator[Cage]:
    for base, is_ours in _unified_bases(tree):
        usable = {name: wanted[name] for name in _offered(base, wanted, tree, is_ours=is_ours)}
        if usable and (cage := _make({base: usable}, tree, way="control group v2")):
            yield cage
    legacy = {place: {name: wanted[name]} for name in wanted for _, place in tree.places("cgroup", name)}
    if legacy and (cage := _make(_merged(wanted, legacy), tree, way="control groups v1")):
        yield cage


# --- v2 -----------------------------------------------------------------------------------------------------------


def _unified_bases(tree: Tree) -> Iterator[tuple[Path, bool]]:
    """(group below which ours may lie, whether it was delegated): the delegated one, our own's parents, the top."""
    for mount, own in tree.places("cgroup2"):
        above = [own, *own.parents][: len(own.parts) - len(mount.parts) + 1]
        delegated = next((group for group in above if _is_delegated(group)), None)
        if delegated is not None:
            yield delegated, True
        yield from ((group, False) for group in (*above[1:], above[0]) if group != delegated)


def _is_delegated(group: Path) -> bool:
    """Whether systemd left this part of the tree to whoever runs in it."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1" and os.access(group, os.W_OK):
                return True
    return False


def _offered(base: Path, wanted: Mapping[str, int], tree: Tree, *, is_ours: bool) -> list[str]:
    """Those of the wanted controllers that groups below this one have, after switching on what is ours to switch."""
    switched_on = read(base / "cgroup.subtree_control").split()
    lacking = [name for name in wanted if name not in switched_on and name in _words(base / "cgroup.controllers")]
    if lacking and (is_ours or not tree.is_managed):
        if is_ours:
            _move_out_of(base, tree)
        for name in lacking:
            with contextlib.suppress(OSError):
                tree.order(base / "cgroup.subtree_control", f"+{name}")
    switched_on = _words(base / "cgroup.subtree_control")
    return [name for name in wanted if name in switched_on]


def _move_out_of(base: Path, tree: Tree) -> None:
    """Processes of a group with controllers for its children must be in one of them."""
    leaf = base / _LEAF
    for _ in range(_MOVES):  # what forks meanwhile is met in the next round
        pids = read(base / "cgroup.procs").split()
        if not pids:
            return
        with contextlib.suppress(FileExistsError):
            tree.make_folder(leaf)
        for pid in pids:
            with contextlib.suppress(OSError):
                tree.order(leaf / "cgroup.procs", pid)


# --- folders and files --------------------------------------------------------------------------------------------


def _merged(wanted: Mapping[str, int], places: Mapping[Path, Mapping[str, int]]) -> Mapping[Path, Mapping[str, int]]:
    """Each controller in one place; v1 may mount several of them as one tree."""
    first = {name: next((place for place, held in places.items() if name in held), None) for name in wanted}
    found: dict[Path, dict[str, int]] = {}
    for name, place in first.items():
        if place is not None:
            found.setdefault(place, {})[name] = wanted[name]
    return found


def _make(places: Mapping[Path, Mapping[str, int]], tree: Tree, *, way: str) -> Cage | None:
    """Make a folder below each place and write the limits there; None when nothing could be limited."""
    name = new_name()
    folders, enforced = [], []
    for base, amounts in places.items():
        sweep(base)
        folder = base / name
        try:
            tree.make_folder(folder)
        except OSError:
            continue
        enforced += [CONTROLLERS[held] for held, amount in amounts.items() if limit(folder, held, amount)]
        folders.append(folder)
    cage = Cage(folders=tuple(folders), enforced=tuple(enforced), way=way)
    if cage.enforced:
        return cage
    cage.remove()
    return None


def limit(folder: Path, controller: str, amount: int) -> bool:
    """Write one limit; whether it holds now: what the kernel took is read again."""
    (file, value), *others = (
        _v2(controller, amount) if (folder / f"{controller}.max").exists() else _v1(controller, amount)
    )
    try:
        overwrite(folder / file, value)
    except OSError:
        return False
    for also, text in others:
        with contextlib.suppress(OSError):
            overwrite(folder / also, text)
    return holds(folder, controller, amount)


def holds(folder: Path, controller: str, amount: int) -> bool:
    """Whether a group has this limit, or a lower one."""
    asked = _v2(controller, amount) if (folder / f"{controller}.max").exists() else _v1(controller, amount)
    file, value = asked[0] if controller != "cpu" else asked[-1]
    found = read(folder / file).split()[:1]
    return bool(found) and found[0].isdigit() and int(found[0]) <= int(value.split()[0])


def _v2(controller: str, amount: int) -> list[tuple[str, str]]:
    """(file, what to write), the one that counts first."""
    if controller == "memory":
        return [("memory.max", str(amount)), ("memory.swap.max", "0")]
    if controller == "cpu":
        return [("cpu.max", f"{amount * _PERIOD_US} {_PERIOD_US}")]
    return [("pids.max", str(amount))]


def _v1(controller: str, amount: int) -> list[tuple[str, str]]:
    if controller == "memory":
        return [("memory.limit_in_bytes", str(amount)), ("memory.memsw.limit_in_bytes", str(amount))]
    if controller == "cpu":
        return [("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", str(amount * _PERIOD_US))]
    return [("pids.max", str(amount))]


def new_name() -> str:
    """A name for a group that says whose it is: process ids count within one process namespace only."""
    return f"{PREFIX}-{os.getpid()}-{_process_namespace()}-{secrets.token_hex(4)}"


def sweep(base: Path) -> None:
    """End and remove what a killed crewcap left behind."""
    for folder in base.glob(f"{PREFIX}-*-{_process_namespace()}-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                Cage(folders=(folder,), enforced=()).kill()
                folder.rmdir()


def _process_namespace() -> str:
    try:
        found = re.search(r"\d+", os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  (not a path)
    except OSError:
        return "0"
    return found[0] if found else "0"


def read(path: Path) -> str:
    """A file's text; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    return read(path).split()


def _mounts(mountinfo: str) -> Iterator[tuple[str, Path, str, tuple[str, ...]]]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind.startswith("cgroup"):
            words = left.split(" ")
            yield kind, Path(words[4]), words[3], tuple(options.split(","))
