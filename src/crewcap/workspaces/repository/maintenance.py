"""Keeping a mirror quick: many runs leave many small pieces, which git puts together when it is asked to.

Git's own habit of doing so by itself is switched off, because it would come in the middle of somebody's run. Objects
that nothing leads to are kept for two weeks: a fetch that was killed may be taken up again.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from crewcap.workspaces.repository.git import LONG_S, Git

MOST_LOOSE, _MOST_PACKS = 6_700, 50  # git's own figures


def maintain(git: Git, mirror: Path, *, most_loose: int = MOST_LOOSE) -> bool:
    """Repack one, if it needs it and nobody holds its lock; whether that was done."""
    if mirror.is_symlink() or not (mirror / "crewcap").is_file():
        return False
    descriptor = os.open(f"{mirror}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_scattered(git, mirror, most_loose):
            return False
        git.inside(mirror, "gc", "--quiet", "--prune=2.weeks.ago", limit_s=LONG_S)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_scattered(git: Git, mirror: Path, most_loose: int) -> bool:
    lines = (line.split(": ") for line in git.inside(mirror, "count-objects", "-v").text.splitlines())
    counted = {name: int(number) for name, number in lines if number.isdigit()}
    return counted.get("count", 0) > most_loose or counted.get("packs", 0) > _MOST_PACKS
