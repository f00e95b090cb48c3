"""Who is alive, where several workers share one store: heartbeats, and the end of one that cannot give them.

    0 s     its last heartbeat that was heard
    20 s    the worker ends itself and its agents; where it hangs or was stopped, its supervisor kills it
    30 s    the others take it for dead, and go on with its runs

Nobody believes in an end before it has come, by clocks that do not jump: the store's own for others, and for ourselves
one that also counts while the machine sleeps. A worker that was taken for dead and comes back all the same (its machine
stood still) is told so at its next heartbeat, and ends. Whatever it does before that is refused: its runs have a later
attempt, so the books take nothing from it, and the keys of its agents are dead.

Heartbeats are given by a thread with a session of its own, watched by another one: the event loop may wait for the
same database that does not answer.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.core.runs import Run
from crewcap.errors import CrewcapError
from crewcap.home import Home
from crewcap.runner.ownership import LOCAL
from crewcap.runner.worker.engine import VERSION
from crewcap.stores import RunStore

log = logging.getLogger(__name__)

LEFT = ""  # the version of a worker that has ended in order: its place is kept for a while, for the one after it
_LOOKS = 4  # of the watch, in the time of one heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long a worker may be silent."""

    beat_s: float = 5.0
    fence_s: float = 20.0  # then it ends
    dead_after_s: float = 30.0  # then others go on with its runs
    mend_s: float = 10.0  # how often those are looked for
    settle_s: float = 2.0  # how long an attempt may be on its way into the queue
    stuck_s: float = 60.0  # how long its own loop may stand still; then its supervisor kills it


TIMES = Times()


def ticks() -> float:
    """Seconds that also pass while the machine sleeps, where it counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def new_name(home: Home) -> str:
    """A name for one worker of a home: where it stands, and which one it is."""
    return f"{place_at(home)}.{uuid.uuid4().hex[:8]}"


def place_at(home: Home) -> str:
    """Where a home's workers stand; the store of runs has made the file that tells homes apart."""
    return f"{socket.gethostname()}.{(home.root / 'home.id').read_text(encoding='ascii').strip()[:8]}"


def place_of(worker: str) -> str:
    """Where a worker stands, or stood: the workspaces of its runs are there."""
    return worker.rpartition(".")[0]


class SeatTaken(CrewcapError):
    """A home has one worker, and it is another process: nothing is wrong, and trying again later may help."""


def seat(path: Path) -> tuple[int, str]:
    """The one place that a home has for a worker, held until our end; and whose it was. `SeatTaken` where it is."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SeatTaken(
            "another worker of this state directory is alive",
            help="start crewcap serve again when that has ended; its process has the file worker.lock open",
        ) from None
    return descriptor, os.pread(descriptor, 500, 0).decode("utf-8", "replace").strip()


def sit_down(descriptor: int, name: str) -> None:
    """Leave our name there, for the one after us."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, name.encode(), 0)


def living(runs: RunStore, *, dead_after_s: float) -> Mapping[str, str]:
    """Workers that are not silent, and the version of each."""
    silent = {seen.name for seen in runs.workers(silent_s=dead_after_s)}
    return {seen.name: seen.version for seen in runs.workers() if seen.name not in silent}


def has_workspace(home: Home, runs: RunStore, run: Run) -> bool:
    """Whether a run's workspace stands: on this home, or where a worker lives that it can go on with."""
    if (home.run(run.id) / "workspace").is_dir():
        return True
    place = place_of(run.worker)
    if not run.hosted or not place or place == place_at(home):
        return False
    return place in map(place_of, living(runs, dead_after_s=TIMES.dead_after_s))


def forget_the_dead(runs: RunStore, *, dead_after_s: float) -> None:
    """From now on they are nobody, and would be told so."""
    for seen in runs.workers(silent_s=dead_after_s):
        if seen.version != LEFT:
            log.warning("worker %s is dead: its runs go on here or elsewhere", seen.name)
        runs.forget_worker(seen.name)


@dataclass(slots=True, kw_only=True)
class Fence:
    """One worker's heartbeat."""

    runs: RunStore  # a session of its own: it is used by a thread of its own
    worker: str
    fall: Callable[[], None]  # ends this process and everything that it started, at once
    beaten: Callable[[], None] = lambda: None  # told of each heartbeat that was heard
    version: str = VERSION
    times: Times = TIMES
    clock: Callable[[], float] = ticks
    _last: float = field(init=False, default=0.0)
    _over: threading.Event = field(init=False, default_factory=threading.Event)
    _threads: list[threading.Thread] = field(init=False, default_factory=list)

    def start(self) -> None:
        """Be known, and give heartbeats from now on; raises where not even the first one is heard."""
        self._last = self.clock()
        self.runs.beat(self.worker, version=self.version)
        for name, work in (("heart", self._beat), ("watch", self._watch)):
            thread = threading.Thread(target=work, name=f"crewcap-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def leave(self) -> None:
        """End in order: nothing of ours is at work any more, and whoever comes after us here goes on with it."""
        self._over.set()
        self._threads[0].join(self.times.beat_s)
        if not self._threads[0].is_alive():  # else it waits for a database that does not answer
            self.runs.beat(self.worker, version=LEFT)

    def _beat(self) -> None:
        while not self._over.wait(self.times.beat_s):
            began = self.clock()
            try:
                is_known = self.runs.beat(self.worker, version=self.version)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is no heartbeat)
                log.warning("no heartbeat could be given: %s", error)
                continue
            if not is_known:
                self._end("this worker was taken for dead, and others go on with its runs: it ends")
                return
            self._last = began
            self.beaten()

    def _watch(self) -> None:
        while not self._over.wait(self.times.beat_s / _LOOKS):
            if self.clock() - self._last > self.times.fence_s:
                self._end(f"no heartbeat for {self.times.fence_s:g} s: others will take over, so this worker ends")

    def _end(self, why: str) -> None:
        log.error(why)
        self._over.set()
        self.fall()


def named(home: Home, *, is_shared: bool) -> str:
    """What a worker of this home is called."""
    return new_name(home) if is_shared else LOCAL
