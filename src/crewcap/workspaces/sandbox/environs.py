"""Which processes of our user carry a provider's key where any process of that user can read it (MONEY 8)."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def readable_keys(names: Collection[str]) -> list[int]:
    """Other processes of this user in whose environment one of these variables has a value and can be read."""
    wanted = tuple(name.encode() + b"=" for name in names)
    return [pid for pid in _others() if _carries(_environ(pid), wanted)]


def _others() -> list[int]:
    """Processes of our own user, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _carries(environ: bytes, wanted: tuple[bytes, ...]) -> bool:
    return any(entry.startswith(name) and len(entry) > len(name) for entry in environ.split(b"\0") for name in wanted)
