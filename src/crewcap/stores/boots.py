"""Which gateways live: one lock file for each, held by the operating system for as long as its process lives.

A boot is dead only when its lock is free. No time-out and no process id decides: a process that hangs for an hour
may still be paying for an answer, and process ids come back.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from crewcap.core.budget import BootId


class BootLock:
    """Our own boot's lock, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.boot = BootId(f"boot-{secrets.token_hex(8)}")
        self._path = folder / f"{self.boot}.lock"
        self._file: BinaryIO = _open(self._path, create=True)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """End the boot's life."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_alive(folder: Path, boot: BootId) -> bool:
    """Whether some process holds the boot's lock; a lock file that is gone is held by nobody."""
    path = folder / f"{boot}.lock"
    try:
        file = _open(path, create=False)
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def forget(folder: Path, boot: BootId) -> None:
    """Remove the file of a boot that is dead."""
    (folder / f"{boot}.lock").unlink(missing_ok=True)


def _open(path: Path, *, create: bool) -> BinaryIO:
    """Open for locking; never inherited by a child that is executed."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    return os.fdopen(os.open(path, flags, 0o600), "r+b")
