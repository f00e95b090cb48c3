"""One thread that talks to the ledger, so that the event loop never waits for a disk.

Everything that queued up while the disk was busy is done in one round: first what tells of the past, in the order
in which it came (settlements give money back, so this can only help; those that come together are one transaction),
then all new holds in one transaction, so that the disk is flushed once for all of them. A hold is still on the disk
before anybody is told that it is granted. The results of a round go back to the event loop together; those that nobody
waits for do not wake it by themselves.

A settlement that nobody waits for is handed in with the next thing that is, before it, or alone after a moment: most
of what a round costs is waking the thread and opening a transaction, whatever is in it. Until then its hold stays
charged, which is the safe side, and all that is asked of the ledger here is asked after it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from crewcap.core.budget import Decision
from crewcap.stores import HoldOrder, Settlement

T = TypeVar("T")

LINGER_S = 0.1  # the longest that a settlement waits for company


@dataclass(frozen=True, slots=True)
class _Job:
    """A call and whoever waits for it; a new hold and the end of one are no calls of their own."""

    future: asyncio.Future[Any]
    call: Callable[[], Any] | None = None
    order: HoldOrder | None = None
    end: Settlement | None = None
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Done:
    future: asyncio.Future[Any]
    is_quiet: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """A thread with a queue; `do` and `reserve` hand in a job and return a future of this event loop."""

    def __init__(
        self,
        reserve_many: Callable[[Sequence[HoldOrder]], tuple[Decision, ...]],
        settle_many: Callable[[Sequence[Settlement]], tuple[bool, ...]],
        *,
        linger_s: float = LINGER_S,
    ) -> None:
        self._reserve_many = reserve_many
        self._settle_many = settle_many
        self.took: Callable[[float], None] = lambda _seconds: None  # told on the thread how long each round was
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._linger_s = linger_s
        self._lingering: list[_Job] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="crewcap-ledger", daemon=True)
        self._thread.start()

    def do(self, call: Callable[..., T], *arguments: Any, **named: Any) -> asyncio.Future[T]:
        """Run `call` after every other call that was handed in before."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._hand_in(_Job(future, call=partial(call, *arguments, **named)))
        return future

    def settle(self, end: Settlement, *, quietly: bool = False) -> asyncio.Future[bool]:
        """Close a hold, together with all others that end by then; `quietly` where nobody is in a hurry to hear of it.

        A failure is told at once.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        job = _Job(future, end=end, is_quiet=quietly)
        if not quietly:
            self._hand_in(job)
            return future
        self._lingering.append(job)
        if self._timer is None:
            self._timer = self._loop.call_later(self._linger_s, self._hand_in)
        return future

    def reserve(self, order: HoldOrder) -> asyncio.Future[Decision]:
        """Ask for a hold, together with all others that are asked for by then."""
        future: asyncio.Future[Decision] = self._loop.create_future()
        self._hand_in(_Job(future, order=order))
        return future

    async def stop(self) -> None:
        """Finish what was handed in, and end."""
        self._hand_in()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_in(self, *jobs: _Job) -> None:
        """Whatever lingers, and then these."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for job in (*self._lingering, *jobs):
            self._jobs.put(job)
        self._lingering.clear()

    def _work(self) -> None:
        is_over, done = False, list[_Done]()
        while not is_over:
            jobs = self._queued()
            is_over, began = jobs[-1] is None, time.perf_counter()
            round_ = [job for job in jobs if job is not None]
            past = [job for job in round_ if job.order is None]
            for is_end, alike in groupby(past, key=lambda job: job.end is not None):
                together = list(alike)
                done += self._settled(together) if is_end else [_run(job) for job in together]
            done += self._reserved([job for job in round_ if job.order is not None])
            self.took(time.perf_counter() - began)
            if is_over or not all(each.is_quiet for each in done):
                self._loop.call_soon_threadsafe(_tell, done)
                done = []

    def _queued(self) -> list[_Job | None]:
        """Wait for a job, then take all that are there; None = the end, and nothing comes after it."""
        jobs = [self._jobs.get()]
        while jobs[-1] is not None:
            try:
                jobs.append(self._jobs.get_nowait())
            except Empty:
                break
        return jobs

    def _settled(self, jobs: list[_Job]) -> list[_Done]:
        """Ends that came together in one transaction; one by one where that failed."""
        try:
            closed = self._settle_many([job.end for job in jobs if job.end is not None])
        except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
            if len(jobs) == 1:
                return [_Done(jobs[0].future, error=error)]
            return [done for job in jobs for done in self._settled([job])]
        return [_Done(job.future, job.is_quiet, result) for job, result in zip(jobs, closed, strict=True)]

    def _reserved(self, jobs: list[_Job]) -> list[_Done]:
        """All new holds in one transaction; one by one where that failed, so that one order cannot spoil others."""
        if not jobs:
            return []
        try:
            decisions = self._reserve_many([job.order for job in jobs if job.order is not None])
        except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
            if len(jobs) == 1:
                return [_Done(jobs[0].future, error=error)]
            return [done for job in jobs for done in self._reserved([job])]
        return [_Done(job.future, result=decision) for job, decision in zip(jobs, decisions, strict=True)]


def _run(job: _Job) -> _Done:
    try:
        return _Done(job.future, job.is_quiet, job.call() if job.call is not None else None)
    except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
        return _Done(job.future, error=error)


def _tell(done: list[_Done]) -> None:
    """In the event loop: everybody who waits learns of the end, unless they were cancelled meanwhile."""
    for each in done:
        if each.future.done():
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.result)
