"""Which process drives a run.

A pid alone proves nothing, because pids are used again: a driver is known by its pid *and* its start time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crewcap.core.runs import Run
from crewcap.errors import UsageError

_LOCK_FILE = "driver.lock"
LOCAL = "local"  # the one worker of a home whose books are a file


class AlreadyDriven(UsageError):
    """A run has one driver, and it is another process."""


def start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks since boot; empty where it cannot be told or is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else started


def myself() -> tuple[int, str]:
    """This process, as a run's owner."""
    pid = os.getpid()
    return pid, start_time(pid)


def is_driven(run: Run) -> bool:
    """Whether the process that drives this run is alive."""
    if run.owner_pid <= 0:
        return False
    if run.owner_started:
        return start_time(run.owner_pid) == run.owner_started
    return _exists(run.owner_pid)


def is_of_another(run: Run) -> bool:
    """Whether a process drove this run that is not ours, be it alive or gone."""
    return run.owner_pid > 0 and (run.owner_pid, run.owner_started) != myself()


@contextmanager
def driving(run: Run, folder: Path) -> Iterator[None]:
    """Be the one process that drives a run; the kernel lets go when we end, however that is."""
    with holding(folder) as is_ours:
        if not is_ours:
            raise AlreadyDriven(f"{run.name} is driven by another process already", help=f"crewcap show {run.name}")
        yield


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Be the one process at work in a folder, and whether we are."""
    lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(lock)


def is_held(folder: Path) -> bool:
    """Whether somebody drives the run of a folder, or has a shell open in it; nothing is made by looking."""
    try:
        lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _exists(pid: int) -> bool:
    """Where /proc is missing: whether there is such a process at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
