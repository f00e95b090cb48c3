"""One thread that talks to the ledger, so that the event loop never waits for a disk.

Everything that queued up while the disk was busy is done in one round: first what tells of the past, in the order
in which it came (settlements give money back, so this can only help), then all new holds. Settlements that come
together are one transaction, and the last of them are one with the new holds: most rounds open one, and flush the disk
once for everybody. A hold is still on the disk before anybody is told that it is granted. The results of a round go
back to the event loop together; those that nobody waits for do not wake it by themselves.

The thread is woken at the end of a turn of the event loop, once for all that was asked in it: woken earlier, it would
fight the loop for the interpreter. A settlement that nobody waits for is handed in with the next thing that is, before
it, or alone after a moment: most of what a round costs is waking the thread and opening a transaction, whatever is in
it. Until then its hold stays charged, which is the safe side, and all that is asked of the ledger here is asked after
it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from queue import SimpleQueue
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


@dataclass(slots=True)
class _Job:
    """A call and whoever waits for it; a new hold and the end of one are no calls of their own."""

    future: asyncio.Future[Any]
    call: Callable[[], Any] | None = None
    order: HoldOrder | None = None
    end: Settlement | None = None
    is_quiet: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """A thread with a queue; `do` and `reserve` hand in a job and return a future of this event loop."""

    def __init__(self, books: Books, *, linger_s: float = LINGER_S) -> None:
        self._books = books
        self.took: Callable[[float], None] = lambda _seconds: None  # told on the thread how long each round was
        self._handed_in: SimpleQueue[list[_Job]] = SimpleQueue()
        self._linger_s = linger_s
        self._waiting: list[_Job] = []  # to be handed in, in order
        self._turn: asyncio.Handle | None = None  # when they are
        self._timer: asyncio.TimerHandle | None = None  # when they are at the latest
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="crewcap-ledger", daemon=True)
        self._thread.start()

    def do(self, call: Callable[..., T], *arguments: Any, **named: Any) -> asyncio.Future[T]:
        """Run `call` after every other call that was handed in before."""
        return self._add(_Job(self._loop.create_future(), call=partial(call, *arguments, **named)))

    def settle(self, end: Settlement, *, quietly: bool = False) -> asyncio.Future[bool]:
        """Close a hold, together with all others that end by then; `quietly` where nobody is in a hurry to hear of it.

        A failure is told at once.
        """
        return self._add(_Job(self._loop.create_future(), end=end, is_quiet=quietly))

    def reserve(self, order: HoldOrder) -> asyncio.Future[Decision]:
        """Ask for a hold, together with all others that are asked for by then."""
        return self._add(_Job(self._loop.create_future(), order=order))

    async def stop(self) -> None:
        """Finish what was handed in, and end."""
        self._hand_in()
        self._handed_in.put([])
        await asyncio.to_thread(self._thread.join)

    def _add(self, job: _Job) -> asyncio.Future[Any]:
        self._waiting.append(job)
        if not job.is_quiet:
            self._turn = self._turn or self._loop.call_soon(self._hand_in)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._linger_s, self._linger_no_more)
        return job.future

    def _linger_no_more(self) -> None:
        """It is not set back for each that comes: one that is cut short costs less than a clock for each."""
        self._timer = None
        self._hand_in()

    def _hand_in(self) -> None:
        self._turn = None
        if self._waiting:
            self._handed_in.put(self._waiting)
            self._waiting = []

    def _work(self) -> None:
        is_over, done = False, list[_Job]()
        while not is_over:
            jobs, is_over = self._queued()
            began = time.perf_counter()
            self._round(jobs)
            self.took(time.perf_counter() - began)
            done += jobs
            if is_over or not all(each.is_quiet and each.error is None for each in done):
                self._loop.call_soon_threadsafe(_tell, done)
                done = []

    def _queued(self) -> tuple[list[_Job], bool]:
        """Wait for jobs, then take all that are there; whether that was the end, after which nothing comes."""
        jobs = list[_Job]()
        while handed_in := self._handed_in.get():
            jobs += handed_in
            if self._handed_in.empty():
                return jobs, False
        return jobs, True

    def _round(self, jobs: list[_Job]) -> None:
        """The past in its order, then all new holds; ends that nothing stands behind go with these."""
        past, orders = [job for job in jobs if job.order is None], [job for job in jobs if job.order is not None]
        ends = list[_Job]()
        for is_end, alike in groupby(past, key=lambda job: job.end is not None):
            self._settle(ends)
            ends = list(alike)
            if not is_end:
                _call(ends)
                ends = []
        self._book(ends, orders)

    def _book(self, ends: list[_Job], orders: list[_Job]) -> None:
        """Ends and new holds in one transaction; apart where that failed."""
        if ends and orders:
            try:
                closed, decisions = self._books.settle_and_reserve(_ends(ends), _orders(orders))
            except BaseException:  # noqa: BLE001, S110  (whose fault it was shows when they are tried apart)
                pass
            else:
                _note(ends, closed)
                _note(orders, decisions)
                return
        self._settle(ends)
        self._reserve(orders)

    def _settle(self, jobs: list[_Job]) -> None:
        """Ends that came together in one transaction; one by one where that failed."""
        _together(jobs, lambda some: self._books.settle_many(_ends(some)))

    def _reserve(self, jobs: list[_Job]) -> None:
        """All new holds in one transaction; one by one where that failed, so that one order cannot spoil others."""
        _together(jobs, lambda some: self._books.reserve_many(_orders(some)))


def _together(jobs: list[_Job], call: Callable[[list[_Job]], Sequence[Any]]) -> None:
    if not jobs:
        return
    try:
        _note(jobs, call(jobs))
    except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
        if len(jobs) == 1:
            jobs[0].error = error
            return
        for job in jobs:
            _together([job], call)


def _call(jobs: list[_Job]) -> None:
    for job in jobs:
        try:
            job.result = job.call() if job.call is not None else None
        except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
            job.error = error


def _note(jobs: list[_Job], results: Sequence[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        job.result = result


def _ends(jobs: list[_Job]) -> list[Settlement]:
    return [job.end for job in jobs if job.end is not None]


def _orders(jobs: list[_Job]) -> list[HoldOrder]:
    return [job.order for job in jobs if job.order is not None]


def _tell(done: list[_Job]) -> None:
    """In the event loop: everybody who waits learns of the end, unless they were cancelled meanwhile."""
    for each in done:
        error, each.error = each.error, None  # its frames know the job: a circle
        if each.future.done():
            continue
        if error is not None:
            each.future.set_exception(error)
        else:
            each.future.set_result(each.result)
