"""Whether a `crewcap serve` is alive on this home.

It holds a lock of the kernel's (flock on HOME/serve.lock) for as long as it lives, so its end is known however it came:
a pid may be somebody else's by now, and a note may be left from before a kill. HOME/serve.json says who holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crewcap.home import Home
from crewcap.runner.ownership import start_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a `crewcap serve` says of itself, or its predecessor did."""

    pid: int  # 0 = it has said nothing yet
    started: str = ""  # the process's start time, in the kernel's ticks
    url: str = ""  # of its gateway; empty until that listens
    gateway_pid: int = 0
    gateway_started: str = ""
    worker_pid: int = 0
    worker_started: str = ""
    since: str = ""  # RFC 3339
    version: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it has come so far that runs are taken."""
        return bool(self.url and self.worker_pid)

    @property
    def is_process(self) -> bool:
        """Whether the process that wrote this still is that process."""
        return bool(self.pid and self.started and start_time(self.pid) == self.started)


def serving(home: Home) -> Presence | None:
    """The `crewcap serve` that is alive on this home; None where there is none."""
    if not _is_locked(home):
        return None
    said = noted(home)
    return said if said is not None and said.is_process else Presence(pid=0)


def noted(home: Home) -> Presence | None:
    """What HOME/serve.json says, whether that process lives or not."""
    try:
        said = json.loads(home.serve_note.read_text("utf-8"))
        return _presence(said)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _presence(said: Mapping[str, Any]) -> Presence:
    """Fields of a later version are not ours to read."""
    words = ("started", "url", "gateway_started", "worker_started", "since", "version")
    known: dict[str, Any] = {name: str(said.get(name, "")) for name in words}
    known |= {name: int(said.get(name, 0)) for name in ("pid", "gateway_pid", "worker_pid")}
    return Presence(**known)


def _is_locked(home: Home) -> bool:
    """Looks share the lock with one another, so that two of them do not take each other for a serve."""
    try:
        lock = os.open(home.serve_lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
