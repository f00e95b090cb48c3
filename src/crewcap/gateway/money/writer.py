"""One thread that talks to the ledger, so that the event loop never waits for a disk.

Everything that queued up while the disk was busy is done in one round: first what tells of the past, in the order
in which it came (settlements give money back, so this can only help), then all new holds. Settlements that come
together are one transaction, and the last of them are one with the new holds: most rounds open one, and flush the disk
once for everybody. A hold is still on the disk before anybody is told that it is granted. The results of a round go
back to the event loop together; those that nobody waits for do not wake it by themselves.

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
from typing import Any, Protocol, TypeVar

from crewcap.core.budget import Decision
from crewcap.stores import HoldOrder, Settlement

T = TypeVar("T")

LINGER_S = 0.1  # the longest that a settlement waits for company


class Books(Protocol):
    """What of a ledger is called for many at once."""

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        """All of these holds in one transaction."""
        ...

    def settle_many(self, settlements: Sequence[Settlement]) -> tuple[bool, ...]:
        """All of these ends in one transaction."""
        ...

    def settle_and_reserve(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """Both, one after the other, in one transaction."""
        ...


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

    def __init__(self, books: Books, *, linger_s: float = LINGER_S) -> None:
        self._books = books
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
            done += self._round([job for job in jobs if job is not None])
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

    def _round(self, jobs: list[_Job]) -> list[_Done]:
        """The past in its order, then all new holds; ends that nothing stands behind go with these."""
        past, orders = [job for job in jobs if job.order is None], [job for job in jobs if job.order is not None]
        done, ends = list[_Done](), list[_Job]()
        for is_end, alike in groupby(past, key=lambda job: job.end is not None):
            done += self._settled(ends)
            ends = list(alike)
            if not is_end:
                done, ends = [*done, *map(_run, ends)], []
        return done + self._booked(ends, orders)

    def _booked(self, ends: list[_Job], orders: list[_Job]) -> list[_Done]:
        """Ends and new holds in one transaction; apart where that failed."""
        if ends and orders:
            try:
                closed, decisions = self._books.settle_and_reserve(_ends(ends), _orders(orders))
            except BaseException:  # noqa: BLE001, S110  (whose fault it was shows when they are tried apart)
                pass
            else:
                return [*_told(ends, closed), *_told(orders, decisions)]
        return self._settled(ends) + self._reserved(orders)

    def _settled(self, jobs: list[_Job]) -> list[_Done]:
        """Ends that came together in one transaction; one by one where that failed."""
        return _together(jobs, lambda some: self._books.settle_many(_ends(some)))

    def _reserved(self, jobs: list[_Job]) -> list[_Done]:
        """All new holds in one transaction; one by one where that failed, so that one order cannot spoil others."""
        return _together(jobs, lambda some: self._books.reserve_many(_orders(some)))


def _together(jobs: list[_Job], call: Callable[[list[_Job]], Sequence[Any]]) -> list[_Done]:
    try:
        return _told(jobs, call(jobs)) if jobs else []
    except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
        if len(jobs) == 1:
            return [_Done(jobs[0].future, error=error)]
        return [done for job in jobs for done in _together([job], call)]


def _told(jobs: list[_Job], results: Sequence[Any]) -> list[_Done]:
    return [_Done(job.future, job.is_quiet, result) for job, result in zip(jobs, results, strict=True)]


def _ends(jobs: list[_Job]) -> list[Settlement]:
    return [job.end for job in jobs if job.end is not None]


def _orders(jobs: list[_Job]) -> list[HoldOrder]:
    return [job.order for job in jobs if job.order is not None]


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
