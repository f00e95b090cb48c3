"""Orphans: processes of a run that outlived the process of ours that started them, found and ended.

    end_orphans_of(folder, runs)  before a run is gone on with: two agents never work in one workspace
    end_orphans(home, runs)       at the start of a worker
    find_orphans(home)            for whoever only looks

Every command in a sandbox is written down before it may begin (`workspaces/sandbox/register`). A file whose owner is
dead tells of orphans, and these are they: the outer process and the command, by pid *and* start time; what shares the
living command's session; what is in its control groups; what carries its mark in the environment; what runs as the
run's own user, if nobody else has that user now; and all that descends from any of them. Each is held by a handle first
and looked at then, so that a number which was given away again is never ended for another. What is found is stopped
before it is killed, because what stands still starts nothing, and looked for again until there is nobody.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crewcap.core.runs import RunId
from crewcap.errors import CrewcapError, UnsafeEnvironment
from crewcap.home import Home
from crewcap.stores import RunStore
from crewcap.workspaces.sandbox import register
from crewcap.workspaces.sandbox.cgroups import Cage
from crewcap.workspaces.sandbox.outer import hold, send, stat_of
from crewcap.workspaces.sandbox.register import MARK, Entry, start_time
from crewcap.workspaces.sandbox.uids import claim

_LIMIT_S = 10.0
_ROUND_S = 0.02
_PARENT, _SESSION = 1, 3  # fields of /proc/PID/stat, counted from the state
_LONGEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A process without an owner."""

    run: str  # id
    pid: int
    started: str
    words: str  # the beginning of its command line
    is_alive: bool  # it could not be ended, or was only looked at


def end_orphans(home: Home, runs: RunStore, *, limit_s: float = _LIMIT_S) -> Sequence[Orphan]:
    """End the orphans of every run of this home, and say so in its story; what is still alive is among what returns."""
    found: list[Orphan] = []
    for folder in _registers(home):
        ended = _end(folder, limit_s=limit_s)
        found += ended
        _tell(runs, folder, ended)
    return found


def end_orphans_of(folder: Path, runs: RunStore, *, limit_s: float = _LIMIT_S) -> Sequence[Orphan]:
    """The same for one run's folder, before it is gone on with; `UnsafeEnvironment` where one cannot be ended."""
    found = _end(folder, limit_s=limit_s)
    _tell(runs, folder, found)
    _refuse_living(found)
    return found


def end_orphans_in(folder: Path, *, limit_s: float = _LIMIT_S) -> None:
    """The same for a folder that is no run's."""
    _refuse_living(_end(folder, limit_s=limit_s))


def _refuse_living(found: Sequence[Orphan]) -> None:
    """`UnsafeEnvironment` where one could not be ended."""
    if left := [orphan for orphan in found if orphan.is_alive]:
        raise UnsafeEnvironment(
            f"process {left[0].pid} of an earlier start of this run is alive and cannot be ended ({left[0].words})",
            help=f"kill -9 {' '.join(str(orphan.pid) for orphan in left)}, then start the run again",
        )


def find_orphans(home: Home) -> Sequence[Orphan]:
    """Who they are; nobody is ended."""
    return [
        _orphan(folder, member)
        for folder in _registers(home)
        for entry in _without_owner(folder)
        for member in sorted(_members(entry))
    ]


def _registers(home: Home) -> Iterator[Path]:
    """Folders of runs and of rehearsals in which somebody is written down."""
    places = (*(home.root / "runs").glob(f"*/{register.FOLDER}"), *home.root.glob(f"doctor-*/{register.FOLDER}"))
    for place in sorted(places):
        if not place.is_symlink() and not place.parent.is_symlink():
            yield place.parent


def _without_owner(folder: Path) -> Iterator[Entry]:
    """Entries that nobody sees to; those of another container that shares this folder are not ours to judge."""
    for entry in register.entries(folder / register.FOLDER):
        if entry.is_of_this_machine and not entry.is_owned:
            yield entry


def _end(folder: Path, *, limit_s: float) -> list[Orphan]:
    book = folder / register.FOLDER
    for entry in register.entries(book):
        if not entry.is_of_this_boot:
            register.strike(book, entry.mark)
    ended: dict[_Member, Orphan] = {}
    for entry in _without_owner(folder):
        left = _end_entry(entry, time.monotonic() + limit_s, partial(_meet, folder, ended))
        ended |= {member: _orphan(folder, member) for member in left}
        if not left:
            register.strike(book, entry.mark)
    return list(ended.values())


def _tell(runs: RunStore, folder: Path, ended: Sequence[Orphan]) -> None:
    if ended and folder.parent.name == "runs":
        with contextlib.suppress(CrewcapError):  # a folder of no run in these books
            runs.log(RunId(folder.name), "note", _told(ended))


def _told(ended: Sequence[Orphan]) -> str:
    alive = [orphan for orphan in ended if orphan.is_alive]
    what = "a process" if len(ended) == 1 else f"{len(ended)} processes"
    rest = f"; {len(alive)} could not be ended" if alive else ""
    return f"{what} of an earlier start had outlived it and {'was' if len(ended) == 1 else 'were'} ended{rest}"


# --- ending -------------------------------------------------------------------------------------------------------

_Member = tuple[int, str]  # pid and start time


def _end_entry(entry: Entry, until: float, meet: Callable[[_Member], None]) -> set[_Member]:
    """End everything of it; who is left when the time is up."""
    cage = Cage(folders=tuple(map(Path, entry.groups)), enforced=())
    while members := _members(entry):
        for member in members:
            meet(member)
        if time.monotonic() > until:
            return members
        _end_members(members)
        cage.kill()
    cage.remove()
    return set()


def _end_members(members: Iterable[_Member]) -> None:
    """Stop all of them, then kill all of them, and wait a moment for the first to be gone."""
    held = {handle for pid, started in members if (handle := _held(pid, started)) is not None}
    try:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for handle in held:
                with contextlib.suppress(PermissionError):
                    send(handle, number)
        if held:
            select.select(list(held), [], [], _ROUND_S)
    finally:
        for handle in held:
            os.close(handle)
    time.sleep(_ROUND_S / 10)


def _held(pid: int, started: str) -> int | None:
    """A handle on exactly this process."""
    handle = hold(pid)
    if handle is None:
        return None
    if start_time(pid) == started:
        return handle
    os.close(handle)
    return None


def _meet(folder: Path, ended: dict[_Member, Orphan], member: _Member) -> None:
    """Remember who it was while its command line can still be read."""
    if member not in ended:
        ended[member] = replace(_orphan(folder, member), is_alive=False)


def _orphan(folder: Path, member: _Member) -> Orphan:
    pid, started = member
    words = _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
    shown = "".join(char for char in words if char.isprintable())[:_LONGEST]
    return Orphan(run=folder.name, pid=pid, started=started, words=shown, is_alive=True)


# --- finding ------------------------------------------------------------------------------------------------------


def _members(entry: Entry) -> set[_Member]:
    """Everybody of it who is alive now."""
    processes = {pid: fields for pid in _pids() if (fields := stat_of(pid)) and fields[0] not in "ZX"}
    found = {pid for pid in processes if _is_named(entry, pid, processes[pid])}
    found |= _in_groups(entry) & processes.keys()
    found |= set(_of_user(entry, processes))
    found |= {pid for pid in processes.keys() - found if _is_marked(entry, pid)}
    found -= {os.getpid()}
    return {(pid, started) for pid in _with_descendants(found, processes) if (started := start_time(pid))}


def _is_named(entry: Entry, pid: int, fields: Sequence[str]) -> bool:
    """Whether it stands in the entry, or is in the session of its living command (a dead one's may be another's)."""
    if (pid, start_time(pid)) in {(entry.outer, entry.outer_started), (entry.command, entry.command_started)}:
        return True
    leader_lives = bool(entry.command_started) and start_time(entry.command) == entry.command_started
    return leader_lives and fields[_SESSION] == str(entry.command)


def _in_groups(entry: Entry) -> set[int]:
    """Who is in its control groups, whose names nobody else's can have."""
    listed = (_text(Path(folder, "cgroup.procs")).split() for folder in entry.groups)
    return {int(pid) for pids in listed for pid in pids}


def _of_user(entry: Entry, processes: Iterable[int]) -> Iterator[int]:
    """Who runs as the run's own user, unless another run has that one now: nobody gets it while it has processes."""
    if not entry.uid:
        return
    with claim(entry.uid) as is_free:
        if not is_free:
            return
        for pid in processes:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}").stat().st_uid == entry.uid:
                    yield pid


def _is_marked(entry: Entry, pid: int) -> bool:
    return f"{MARK}={entry.mark}".encode() in _read(pid, "environ").split(b"\0")


def _with_descendants(found: set[int], processes: dict[int, list[str]]) -> set[int]:
    """These, and all that they started."""
    children: dict[int, list[int]] = {}
    for pid, fields in processes.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    everybody, queue = set(found), list(found)
    while queue:
        new = [child for child in children.get(queue.pop(), []) if child not in everybody]
        everybody.update(new)
        queue += new
    return everybody


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208  (many times faster)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
