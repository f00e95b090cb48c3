"""Folders of doors that a killed process left in the system's folder for temporary files.

A door is a socket in a folder `crewcap-*` of its own. Whether anybody is behind it shows when one knocks: nobody
listens at the socket of a dead process, and nothing else can make it listen again. What holds anything but such sockets
is none of these, whatever its name. A folder is ours where its owner is our user; the user that stands for all whom a
namespace does not know is nobody, and what belongs to nobody is not judged.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

_AGE_S = 600  # a folder is there a moment before its socket


def stale_doors(now: datetime, *, below: Path | None = None) -> tuple[Path, ...]:
    """Those of our user that are old and dead."""
    return tuple(sorted(_stale(now, below or Path(tempfile.gettempdir()))))


def remove_stale_doors(now: datetime, *, below: Path | None = None) -> tuple[Path, ...]:
    """Remove them; which ones are gone."""
    return tuple(folder for folder in stale_doors(now, below=below) if _remove(folder))


def _stale(now: datetime, below: Path) -> Iterator[Path]:
    mine = {os.geteuid()} - {_nobody()}
    for folder in below.glob("crewcap-*"):
        with contextlib.suppress(OSError):
            info = folder.lstat()
            is_ours = stat.S_ISDIR(info.st_mode) and info.st_uid in mine
            if is_ours and now.timestamp() - info.st_mtime > _AGE_S and all(map(_is_dead, folder.iterdir())):
                yield folder


def _nobody() -> int:
    """The number that the kernel shows for every user without one here."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except (OSError, ValueError):
        return -1


def _is_dead(path: Path) -> bool:
    """Whether it is a socket at which nobody listens."""
    if not path.is_socket() or path.is_symlink():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.setblocking(False)
        try:
            knocking.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _remove(folder: Path) -> bool:
    try:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    except OSError:
        return False
    return True
