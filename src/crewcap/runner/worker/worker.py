"""One worker: what it does from its start until it is told to drain.

    four times a second  queued runs are let in, where the books have changed
    every few seconds    waiting runs are looked at, ticks of schedules, attempts that ended without an end; what people
                         wrote at the issues of runs
    every hour           the house is kept
    every five minutes   people are told of budgets, whoever spent the money
    where it is set      transcripts of this machine's agents are imported

Each of these may fail without the others: it is logged and done again at its next turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from crewcap.core.runs import Run, RunId, RunState
from crewcap.errors import CrewcapError
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner.house import House
from crewcap.runner.worker.clockwork import JOB, Clockwork
from crewcap.runner.worker.dispatch import MOST_OPEN, Dispatcher
from crewcap.runner.worker.engine import VERSION, Engine
from crewcap.runner.worker.fencing import TIMES, Fence, Times, named, place_of, seat, sit_down
from crewcap.runner.worker.followups import FollowUps
from crewcap.runner.worker.hosting import Host
from crewcap.runner.worker.housekeeping import due, sweep
from crewcap.runner.worker.orphans import end_orphans
from crewcap.runner.worker.past_usage import PastUsage, Rounds
from crewcap.runner.worker.waking import wake
from crewcap.stores import RunStore

log = logging.getLogger(__name__)

LOOK_S, ROUND_S, PAST_S, TELL_S, TIDY_S = 0.25, 5.0, 30.0, 300.0, 3600.0
_STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What a worker is given to do beside runs."""

    rested: Callable[[Run], None]  # tells people of a run that came to rest; blocks
    fall: Callable[[], None] = lambda: os._exit(70)
    beaten: Callable[[], None] = lambda: None  # a heartbeat was heard
    heart: Callable[[], RunStore] | None = None  # runs by a session of its own, where several workers share them
    past: Rounds | None = None  # imports what agents left on this machine
    budgets: Callable[[], None] | None = None  # tells people of budgets; blocks


class Worker:
    """Many runs, unattended."""

    def __init__(
        self, house: House, duties: Duties, *, runs_at_once: int, times: Times = TIMES, version: str = VERSION
    ) -> None:
        self._house = house
        self._duties = duties
        self._times = times
        store = house.settings.store_url
        house.home.make()
        self._seat, self._before = seat(house.home.worker_lock)
        self._is_shared = bool(store and house.runs)  # the store knows where we stand
        self.name = named(house.home, is_shared=self._is_shared)
        self.lifeline = Lifeline(house.home, drain_s=house.settings.gateway.drain_s)
        self.host = Host(house, self.lifeline, worker=self.name, rested=self._rested)
        self.engine = Engine(
            store=store or str(house.home.engine),
            executor=self.name,
            perform=self.host.perform,
            job=self._job,
            runs_at_once=runs_at_once,
            place=place_of(self.name),
            version=version,
        )
        self.dispatcher = Dispatcher(
            house=house, engine=self.engine, is_shared=self._is_shared, times=times, version=version
        )
        self.clockwork = Clockwork(house=house, engine=self.engine)
        self.follow_ups = FollowUps(house=house)
        self._fence: Fence | None = None
        if duties.heart is not None:
            self._fence = Fence(
                runs=duties.heart(),
                worker=self.name,
                fall=duties.fall,
                beaten=duties.beaten,
                version=version,
                times=times,
            )
        self._tasks: set[asyncio.Task[None]] = set()
        self._version = -1

    async def start(self) -> None:
        """Take up what was left, and begin."""
        house = self._house
        for orphan in await asyncio.to_thread(end_orphans, house.home, house.runs):
            log.warning("ended what an earlier process left: %s", orphan)
        if self._fence is not None:
            await asyncio.to_thread(self._fence.start)
            house.runs.forget_worker(self._before)  # we have its seat, so it has ended
        sit_down(self._seat, self.name)
        self._spawn(self.lifeline.keep())
        await self.engine.start()
        await self._mend()
        self._spawn(self._now_and_then(self._look, LOOK_S))
        self._spawn(self._now_and_then(self._round, ROUND_S))
        self._spawn(self._now_and_then(self._follow_up, ROUND_S))
        self._spawn(self._now_and_then(self._mend, self._times.mend_s, after_s=self._times.mend_s))
        self._spawn(self._now_and_then(self._tidy, TIDY_S))
        if self._duties.budgets is not None:
            self._spawn(self._now_and_then(partial(asyncio.to_thread, self._duties.budgets), TELL_S, after_s=TELL_S))
        if (rounds := self._duties.past) is not None:
            self._spawn(self._now_and_then(PastUsage(house=house, rounds=rounds).look, PAST_S))

    async def drain(self, *, within_s: float, hurry: asyncio.Event) -> None:
        """Let in nothing more, let what ends soon end, and leave the rest as it is for the next start."""
        for task in self._tasks:
            if task.get_name() != "keep":
                task.cancel()
        self.host.drain()
        deadline = time.monotonic() + within_s
        while self.host.busy and time.monotonic() < deadline and not hurry.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), LOOK_S / 2)
        await asyncio.wait({asyncio.create_task(self.host.leave())}, timeout=_STOP_S)
        await self.engine.stop(within_s=_STOP_S)
        for task in self._tasks:
            task.cancel()
        if self._fence is not None:
            await asyncio.to_thread(self._fence.leave)

    def _spawn(self, work: Awaitable[None]) -> None:
        name = "keep" if getattr(work, "__name__", "") == "keep" else "duty"
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)  # noqa: S101  (a coroutine becomes one)
        task.set_name(name)
        self._tasks.add(task)

    async def _now_and_then(self, duty: Callable[[], Awaitable[None]], every_s: float, *, after_s: float = 0) -> None:
        await asyncio.sleep(after_s)
        while True:
            try:
                await duty()
            except CrewcapError as error:
                log.warning("%s", error.message)
            except Exception:
                log.exception("a duty failed; it is done again")
            await asyncio.sleep(every_s)

    async def _look(self) -> None:
        version = self._house.runs.version()
        if version != self._version:
            self._version = version
            await self.dispatcher.look()

    async def _round(self) -> None:
        """What does not hurry; also what only the clock changes."""
        status = await (await self.lifeline.ready()).status()
        frozen = [str(each["reason"]) for each in status["frozen"]]
        self.dispatcher.frozen = frozen[0] if frozen else ""
        for run in await asyncio.to_thread(self._house.runs.list, limit=MOST_OPEN, open_only=True):
            if run.state == RunState.WAITING:
                await asyncio.to_thread(wake, self._house, run, frozen=frozen)
        await self.clockwork.look()
        await self.dispatcher.look()

    async def _follow_up(self) -> None:
        """What people wrote at the issues of runs; apart from the round, because a repository may be slow."""
        if await asyncio.to_thread(self.follow_ups.look):
            self._version = -1

    async def _mend(self) -> None:
        """One worker at a time looks for what dead ones left."""
        if not self._is_shared:
            await self.dispatcher.mend()
            return
        with self._house.runs.alone("mending") as is_ours:
            if is_ours:
                await self.dispatcher.mend()

    async def _tidy(self) -> None:
        house, now = self._house, self._house.clock()
        if await asyncio.to_thread(due, house.home, now):
            swept = await sweep(house, now=now, retention_s=house.settings.defaults.retention_s)
            log.info("the house was kept: %s", swept.said or "nothing was to be done")

    async def _job(self, name: str, key: str) -> None:
        if name == JOB:
            await self.clockwork.make(key)

    def _rested(self, run: Run) -> None:
        """Its places are free: others may start now. And people are told."""
        self._version = -1
        task = asyncio.ensure_future(asyncio.to_thread(self._told, run.id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told(self, id_: RunId) -> None:
        run = self._house.runs.get(id_)
        if run is not None:
            self._duties.rested(run)
