"""One worker: what it does from its start until it is told to drain.

    every half second    queued runs are let in, where the books have changed
    every few seconds    waiting runs are looked at, ticks of schedules, attempts that ended without an end
    every hour           the house is kept

Each of these may fail without the others: it is logged and done again at its next turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from crewcap.core.runs import Run, RunId, RunState
from crewcap.errors import CrewcapError
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner.house import House
from crewcap.runner.ownership import LOCAL
from crewcap.runner.worker.clockwork import JOB, Clockwork
from crewcap.runner.worker.dispatch import MOST_OPEN, Dispatcher
from crewcap.runner.worker.engine import Engine
from crewcap.runner.worker.fencing import Fence
from crewcap.runner.worker.hosting import Host
from crewcap.runner.worker.housekeeping import due, sweep
from crewcap.runner.worker.orphans import end_orphans
from crewcap.runner.worker.waking import wake

log = logging.getLogger(__name__)

LOOK_S, MEND_S, ROUND_S, TIDY_S = 0.5, 30.0, 5.0, 3600.0
_STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What a worker is given to do beside runs."""

    rested: Callable[[Run], None]  # tells people of a run that came to rest; blocks
    fall: Callable[[], None] = lambda: os._exit(70)


class Worker:
    """Many runs, unattended."""

    def __init__(self, house: House, duties: Duties, *, runs_at_once: int) -> None:
        self._house = house
        self._duties = duties
        store = house.settings.store_url
        self.name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}" if store else LOCAL
        self.lifeline = Lifeline(house.home, drain_s=house.settings.gateway.drain_s)
        self.host = Host(house, self.lifeline, worker=self.name, rested=self._rested)
        self.engine = Engine(
            store=store or str(house.home.engine),
            executor=self.name,
            perform=self.host.perform,
            job=self._job,
            runs_at_once=runs_at_once,
        )
        self.dispatcher = Dispatcher(house=house, engine=self.engine)
        self.clockwork = Clockwork(house=house, engine=self.engine)
        self._fence = Fence(runs=house.runs, worker=self.name, fall=duties.fall) if store else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._version = -1

    async def start(self) -> None:
        """Take up what was left, and begin."""
        house = self._house
        house.home.make()
        for orphan in await asyncio.to_thread(end_orphans, house.home, house.runs):
            log.warning("ended what an earlier process left: %s", orphan)
        self._spawn(self.lifeline.keep())
        await self.engine.start()
        await self.dispatcher.mend()
        if self._fence is not None:
            self._spawn(self._fence.keep())
        self._spawn(self._now_and_then(self._look, LOOK_S))
        self._spawn(self._now_and_then(self._round, ROUND_S))
        self._spawn(self._now_and_then(self._mend, MEND_S, after_s=MEND_S))
        self._spawn(self._now_and_then(self._tidy, TIDY_S))

    async def drain(self, *, within_s: float, hurry: asyncio.Event) -> None:
        """Let in nothing more, let what ends soon end, and leave the rest as it is for the next start."""
        for task in self._tasks:
            if task.get_name() != "keep":
                task.cancel()
        deadline = time.monotonic() + within_s
        while self.host.here and time.monotonic() < deadline and not hurry.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), LOOK_S / 2)
        await asyncio.wait({asyncio.create_task(self.host.leave())}, timeout=_STOP_S)
        await self.engine.stop(within_s=_STOP_S)
        for task in self._tasks:
            task.cancel()
        if self._fence is not None:
            self._house.runs.forget_worker(self.name)

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

    async def _mend(self) -> None:
        if self._fence is None:
            await self.dispatcher.mend()
            return
        await self._fence.take_over(self.engine)
        with self._house.runs.alone("mending") as is_ours:
            if is_ours:
                await self.dispatcher.mend()

    async def _tidy(self) -> None:
        house, now = self._house, self._house.clock()
        if await asyncio.to_thread(due, house.home, now):
            swept = await sweep(house, now=now, retention_s=house.settings.defaults.retention_s)
            log.info("%s", swept)

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
