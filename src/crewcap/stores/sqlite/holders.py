"""Which programs hold a lock that others wait for, on a file of SQLite's: as the kernel tells it (/proc/locks).

A reader of such a file holds locks, too, that nobody waits for; those of a writer, and of a program that wants the
file for itself alone, are locks to write. Where the kernel tells nothing (another system, another container) nobody is
named.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LOCKS = Path("/proc/locks")


def holders(path: Path) -> str:
    """`sqlite3 (process 4711)`, or several of them; empty where it cannot be told."""
    found = sorted(_pids(path) - {os.getpid()})
    return ", ".join(f"{_name(pid)} (process {pid})" for pid in found)


def _pids(path: Path) -> set[int]:
    """Processes that hold one of the file itself, or of what SQLite shares beside it."""
    names = {_as_in_locks(Path(f"{path}{ending}")) for ending in ("", "-shm")}
    pids = set()
    with suppress(OSError):
        for line in _LOCKS.read_text("ascii", errors="replace").splitlines():
            fields = line.split()  # 19: POSIX  ADVISORY  WRITE 4711 fe:00:5136527 1073741826 1073742335
            if fields[3:4] == ["WRITE"] and fields[5] in names and fields[4].isdigit():
                pids.add(int(fields[4]))
    return {pid for pid in pids if pid > 0}


def _as_in_locks(path: Path) -> str:
    """Device and file, as the kernel writes them."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"


def _name(pid: int) -> str:
    """What the program is called; its command line might hold a secret."""
    try:
        text = Path(f"/proc/{pid}/comm").read_text("utf-8", errors="replace").strip()
    except OSError:
        return "a program"
    return "".join(letter for letter in text if letter.isprintable()) or "a program"
