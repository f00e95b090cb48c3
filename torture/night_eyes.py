"""Somebody who looks at all processes, ten times a second: two agents of one run, and the dead who live on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torture.night_processes import Member, described, parent_of, pids, start_of, words_of

LOOK_S = 0.1


class Eyes:
    """What was seen."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._doomed: dict[Member, tuple[float, float]] = {}  # who has to be gone, since when, and by when
        self._lock = threading.Lock()
        self.faults: list[str] = []
        self.slowest_end_s = 0.0

    def doom(self, members: Iterable[Member], *, since: float, limit_s: float) -> None:
        """These have to be gone by then."""
        with self._lock:
            self._doomed |= dict.fromkeys(members, (since, since + limit_s))

    @contextmanager
    def open(self) -> Iterator[Eyes]:
        """Look, until the end."""
        thread = threading.Thread(target=self._look_on, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def still_here(self) -> list[Member]:
        """Who has to go and has not gone."""
        with self._lock:
            return [member for member in self._doomed if member.is_alive]

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look_at_agents()
            self._look_at_the_dead()

    def _look_at_agents(self) -> None:
        """A child that was forked and is no other program yet is not a second agent."""
        seen: dict[str, list[Member]] = {}
        for pid in pids():
            if session := _session(pid):
                seen.setdefault(session, []).append(Member(pid, start_of(pid)))
        for session, members in seen.items():
            known = {member.pid for member in members}
            own = [member for member in members if member.started and parent_of(member.pid) not in known]
            alive = [member for member in own if member.is_alive]
            if len(alive) > 1:
                self.faults.append(f"two agents at once in session {session}: {[member.pid for member in alive]}")

    def _look_at_the_dead(self) -> None:
        now = time.monotonic()
        with self._lock:
            for member, (since, until) in list(self._doomed.items()):
                if not member.is_alive:
                    self.slowest_end_s = max(self.slowest_end_s, now - since)
                    del self._doomed[member]
                elif now > until:
                    self.faults.append(f"outlived its owner by {now - since:.0f} s: {described(member.pid)}")
                    del self._doomed[member]


def _session(pid: int) -> str:
    """Of an agent's own process; empty for everybody else, also for those whose words name an agent."""
    words = words_of(pid).split(b"\0")
    if len(words) < 4 or words[1] != b"-IS" or not words[0].endswith(b"python3"):
        return ""
    flag = next((flag for flag in (b"--session-id", b"--resume") if flag in words), b"")
    return words[words.index(flag) + 1].decode() if flag else ""
