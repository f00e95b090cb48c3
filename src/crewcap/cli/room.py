"""Room on the disk: what a run needs before it starts, and what `doctor` calls little."""

from __future__ import annotations

import shutil

from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home

ENOUGH_BYTES, TOO_FEW_BYTES = 2 << 30, 64 << 20


def free_bytes(home: Home) -> int:
    """Free bytes where the state directory lies, or would lie."""
    root = home.root
    return shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free


def shown(size: int) -> str:
    """`77.3 GiB`, `12 MiB`."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


def require_room(home: Home) -> None:
    """Refuse to begin what would stop half-way: a workspace, a session and the books grow while a run works."""
    free = free_bytes(home)
    if free < TOO_FEW_BYTES:
        raise UnsafeEnvironment(
            f"only {shown(free)} are free in {home.root}; at least {shown(TOO_FEW_BYTES)} are needed to start",
            help="free some, or name another state directory: --home DIR, or export CREWCAP_HOME=DIR",
        )
