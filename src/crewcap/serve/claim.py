"""One `crewcap serve` a home: it takes the lock for life and writes down who it is.

The lock is the kernel's and goes with the process, however that ends. The note beside it is for people and for other
commands; one that was left by a kill names the children that may still be ending, and is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home
from crewcap.runner.worker.presence import Presence, noted

LOOK_S = 1.0  # somebody who only looks holds the lock for a moment
POLL_S = 0.02


@dataclass(slots=True)
class Claim:
    """Our home, for as long as we live."""

    home: Home
    before: Presence | None  # what another serve left when it was killed
    has_said: bool = False

    def say(self, presence: Presence) -> None:
        """Write down who we are, in one step."""
        fresh = self.home.serve_note.with_suffix(".json.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(asdict(presence), file)
        fresh.replace(self.home.serve_note)
        self.has_said = True


@contextmanager
def claim(home: Home) -> Iterator[Claim]:
    """Be the one `crewcap serve` of a home; `UnsafeEnvironment` names the one that is."""
    home.make()
    lock = os.open(home.serve_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(lock, home)
        claimed = Claim(home, noted(home))
        try:
            yield claimed
        finally:
            if claimed.has_said:  # else the note is still another's, whose children may be alive
                home.serve_note.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _take(lock: int, home: Home) -> None:
    until = time.monotonic() + LOOK_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = noted(home)
            if (said is not None and said.is_process) or time.monotonic() > until:
                raise _taken(home, said) from None
            time.sleep(POLL_S)


def _taken(home: Home, said: Presence | None) -> UnsafeEnvironment:
    who = f" (process {said.pid})" if said is not None and said.is_process else ""
    return UnsafeEnvironment(
        f"crewcap serve runs already on {home.root}{who}",
        help="crewcap status shows it; stop it first, or name another state directory with --home",
    )
