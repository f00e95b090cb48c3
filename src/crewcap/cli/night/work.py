"""The worker of `crewcap serve`: a process of its own, without a provider's key, that ends when its supervisor does."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING

from crewcap.cli.context import Call
from crewcap.cli.night.rereading import keep_reading
from crewcap.cli.night.telling import tell_of
from crewcap.runner.worker.engine import VERSION
from crewcap.runner.worker.fencing import TIMES, SeatTaken, Times
from crewcap.runner.worker.worker import Duties, Worker
from crewcap.serve import fellow
from crewcap.serve.pulse import Pulse

if TYPE_CHECKING:
    from crewcap.transcripts.importing import Outcome

log = logging.getLogger(__name__)

_LEAVE_S = 4.0  # of the drain, for agents to end and what they left to be written down
_SEAT_S, _SEAT_LOOK_S = 30.0, 0.05
_NEXT = 20
_UNLIMITED = 1_000


def work(call: Call, *, slots: int | None, times: Times = TIMES, version: str = VERSION) -> int:
    """Carry out runs until told to drain."""
    return asyncio.run(_work(call, slots=slots, times=times, version=version))


async def _work(call: Call, *, slots: int | None, times: Times, version: str) -> int:
    settings = call.app.settings
    at_once = slots or settings.slots.all
    is_shared, is_ready, pulse = bool(settings.store_url), threading.Event(), Pulse(stuck_s=times.stuck_s)
    duties = Duties(
        rested=partial(tell_of, call),
        beaten=lambda: fellow.say_alive() if is_ready.is_set() and pulse.is_going else None,
        heart=call.app.more_runs if is_shared else None,
        past=partial(_past_usage, call),
        budgets=partial(tell_of, call),
    )
    told, hurry = _told_to_end()
    make = partial(Worker, call.app, duties, runs_at_once=at_once or _UNLIMITED, times=times, version=version)
    worker = await _seated(make, told)
    if worker is None:
        return 0
    if copied := call.app.copied:
        log.warning("%s; crewcap doctor says what to do", copied)
    rereading = asyncio.create_task(keep_reading(call.app, at_once=at_once))
    await worker.start()
    if told.is_set():  # whoever comes next waits for our place
        hurry.set()
    upcoming = [{"at": at.isoformat(timespec="minutes"), "name": name} for at, name in worker.clockwork.upcoming()]
    silent_s = times.fence_s if is_shared else times.stuck_s
    fellow.say_ready(slots=at_once, schedules=upcoming[:_NEXT], silent_s=silent_s)
    is_ready.set()
    going_round = asyncio.create_task(pulse.keep() if is_shared else pulse.keep(fellow.say_alive))
    await told.wait()
    rereading.cancel()
    await worker.drain(within_s=max(0, settings.serve.drain_s - _LEAVE_S), hurry=hurry)
    going_round.cancel()
    return 0


async def _past_usage(call: Call) -> AsyncGenerator[Outcome, None]:
    """Rounds of `crewcap usage import`, without an end."""
    from crewcap.cli.usage.importing import Desk  # noqa: PLC0415  (only where it is set)
    from crewcap.transcripts.importing import places  # noqa: PLC0415
    from crewcap.transcripts.watching import watch  # noqa: PLC0415

    desk = Desk(call)
    await asyncio.to_thread(desk.price_again)
    importer = desk.importer(())
    async for outcome in watch(importer, lambda: places(importer.readers, call.environ)):
        yield outcome


async def _seated(make: Callable[[], Worker], told: asyncio.Event) -> Worker | None:
    """The worker in its place, which one without a supervisor may be about to leave; None where we are not wanted."""
    deadline = time.monotonic() + _SEAT_S
    while True:
        await asyncio.sleep(_SEAT_LOOK_S)  # a supervisor that is gone already is noticed by then
        if told.is_set():
            return None
        try:
            return make()
        except SeatTaken:
            if time.monotonic() > deadline:
                raise


def _told_to_end() -> tuple[asyncio.Event, asyncio.Event]:
    """Set at the first signal, and at the second; both when the supervisor is gone: the next one waits for us."""
    loop, told, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if told.is_set() else told).set()

    def on_alone(_: object) -> None:
        told.set()
        hurry.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    asyncio.ensure_future(fellow.supervisor_gone()).add_done_callback(on_alone)
    return told, hurry
