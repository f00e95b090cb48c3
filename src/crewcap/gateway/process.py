"""What only the platform can do for a process: nobody reads it, its environment forgets, free memory is given back.

A process that holds providers' keys forgets first where they came from, and cannot be read.

`PR_SET_DUMPABLE 0` keeps other processes of the same user from `/proc/PID/environ` and from memory (root still
reads), and keeps the keys out of core dumps. Taking a variable out of `os.environ` is not enough by itself: the
block that the kernel shows as `/proc/PID/environ` stays as it was at the start, so its bytes are overwritten.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

PR_SET_DUMPABLE = 4


def make_unreadable() -> bool:
    """Be not dumpable; False where the platform has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def forget(names: Iterable[str]) -> dict[str, str]:
    """Take variables out of the environment, overwriting their bytes; what they held."""
    held = {name: os.environ[name] for name in names if name in os.environ}
    if sys.platform.startswith("linux"):
        for name in held:
            _overwrite(name)
    for name in held:
        del os.environ[name]
    return held


def give_back() -> None:
    """Return free memory to the system where the C library would keep it (glibc, below whatever is still in use)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _overwrite(name: str) -> None:
    """Zero the value where the C library keeps it; after this `os.environ` alone still knows it."""
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    address = library.getenv(name.encode())
    if address:
        ctypes.memset(address, 0, len(ctypes.string_at(address)))
