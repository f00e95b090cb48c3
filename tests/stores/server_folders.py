"""Folders of test servers, and those that killed test processes left: 300 MB each, mostly in memory.

Whoever makes a folder holds a lock in it for as long as it lives. A folder is removed only where that lock is there and
free, so its maker is dead, and where no living process is the server that it names.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "crewcap-pg-"
_LOCK = "maker"


@contextmanager
def folder_in(parent: Path) -> Iterator[Path]:
    """A folder of one's own, with its lock; removed at the end."""
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        fresh = folder / f"{_LOCK}.new"
        with fresh.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fresh.rename(folder / _LOCK)  # nobody ever sees it free while we live
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove what the dead left."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:  # no lock: nothing is known of it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_served(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_served(folder: Path) -> bool:
    """Whether the server that it names is alive: it ends a moment after its maker."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not words or os.fsencode(folder) in words  # none yet: it is just being started
