"""What only the platform can do for a process."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from crewcap.gateway.process import give_back


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim")
def test_memory_that_is_free_goes_back_to_the_system() -> None:
    """One value in twenty stays and would keep what lies below it."""
    bodies = [b"x" * (60_000 + number) for number in range(400)]
    some = bodies[::20]
    bodies.clear()
    before = resident_bytes()
    give_back()
    assert resident_bytes() < before - 10_000_000
    assert len(some) == 20
