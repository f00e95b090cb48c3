"""Processes, told apart from later ones of the same number by their start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Member:
    """A process, told apart from later ones of its number by its start."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether it is still there."""
        return bool(self.started) and start_of(self.pid) == self.started


def pids() -> Iterator[int]:
    """Of all processes that we can see."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208  (many times faster)


def start_of(pid: int) -> str:
    """When a process started; empty where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def parent_of(pid: int) -> int:
    """Whose child it is."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def words_of(pid: int) -> bytes:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def described(pid: int) -> str:
    """Who it is, for a complaint."""
    try:
        head = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")[:40]
    except OSError:
        return f"{pid} gone"
    return f"{head} {words_of(pid).replace(bytes(1), b' ')[:160].decode('utf-8', 'replace')}"
