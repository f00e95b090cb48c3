"""The refusal to begin anything on a disk that is too full."""

from __future__ import annotations

from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home
from crewcap.runner.room import FLOOR_BYTES, room


def require_room(home: Home, *, floor_bytes: int = FLOOR_BYTES) -> None:
    """Refuse to begin what would stop half-way."""
    if reason := room(home, floor_bytes=floor_bytes):
        raise UnsafeEnvironment(
            reason, help="free some, or name another state directory: --home DIR, or export CREWCAP_HOME=DIR"
        )
