"""Room on the disk: below a floor nothing is begun, because a workspace, a session and the books grow in a run.

    reason = room(home, floor_bytes=2 << 30)      empty = there is room

A run that is on its way when the disk fills is another matter: its sandbox ends it by its own limit, "free disk space",
while there is still enough left to fetch its work and to settle its requests (`workspaces/sandbox/watch`).
"""

from __future__ import annotations

import shutil

from crewcap.home import Home

FLOOR_BYTES = 64 << 20  # where settings name none: what the books and one small session need
ENOUGH_BYTES = 2 << 30  # less than this is worth a warning


def room(home: Home, *, floor_bytes: int = FLOOR_BYTES) -> str:
    """Why nothing may be begun here; empty = there is room."""
    free = free_bytes(home)
    if free >= floor_bytes:
        return ""
    return f"only {shown(free)} are free in {home.root}; at least {shown(floor_bytes)} are needed to start"


def free_bytes(home: Home) -> int:
    """Free bytes where the state directory lies, or would lie."""
    root = home.root
    return shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free


def shown(size: int) -> str:
    """`77.3 GiB`, `12 MiB`."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
