"""The supervisor: it starts a gateway and a worker, watches both, and ends them in order.

Start: first the gateway, which alone is handed the providers' keys, then the worker, which finds the gateway by its
note. Each says that it is ready, or why it is not; whatever a first start refuses ends everything, and is the error of
the command.

Watch: the kernel tells of an end; nothing is polled. A gateway is asked from time to time whether it still answers,
because one that hangs ends nothing by itself. A gateway that is started again gets the same address; the worker finds
it by its note and goes on.

End (SIGTERM, SIGINT): the worker is told first, while its agents still have their gateway: it takes nothing new, lets
go on what can end in `drain_s`, and pauses the rest, resumable. Then the gateway, which reads what is under way to its
end. A second signal: hurry. After `drain_s` and a few seconds both are gone in any case. A supervisor that is killed
closes the standard inputs of both, and they end by themselves: the worker at once, as if told; the gateway when nobody
is attached to it any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from crewcap.runner.worker.presence import Presence
from crewcap.serve import predecessor, systemd
from crewcap.serve.children import Child, Program
from crewcap.serve.keeping import Keeper, Patience

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Both are ready."""

    url: str
    gateway_pid: int
    worker_pid: int
    worker: Mapping[str, Any]  # what it said beside that it is ready


class GatewayProgram(Protocol):
    """How a gateway is started that listens on `HOST:PORT`; the first one is told that somebody reads its refusals."""

    def __call__(self, listen: str, *, first: bool) -> Program:
        """The program for one start."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is started, and who hears of it."""

    gateway: GatewayProgram
    worker: Program
    listen: str
    drain_s: float
    myself: Presence
    before: Presence | None  # left by a serve that was killed
    note: Callable[[Presence], None]
    tell: Callable[[Started], None]


class Supervisor:
    """One `crewcap serve`."""

    def __init__(self, plan: Plan, *, patience: Patience | None = None) -> None:
        self._plan = plan
        self._patience = patience or Patience()
        self._listen = plan.listen
        self._presence = plan.myself
        self._told_to_end, self._hurried = asyncio.Event(), asyncio.Event()
        self._gateway = Keeper(self._gateway_program, patience=self._patience, came=self._gateway_came)
        self._worker = Keeper(lambda: plan.worker, patience=self._patience, came=self._worker_came)

    async def run(self) -> None:
        """Until somebody tells us to end; raises what a first start refuses, or that a child dies too often."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        living, told = asyncio.create_task(self._live()), asyncio.create_task(self._told_to_end.wait())
        going_round = asyncio.create_task(systemd.keep_going_round())  # to the very end, which may take its time
        drain_s = 0.0
        try:
            await asyncio.wait([living, told], return_when=asyncio.FIRST_COMPLETED)
            drain_s = self._plan.drain_s
        finally:
            told.cancel()
            living.cancel()
            await asyncio.wait([living, told])
            systemd.notify("STOPPING=1")
            await self._end(drain_s)
            going_round.cancel()
        if not living.cancelled():
            living.result()

    async def _live(self) -> None:
        """Start both, then keep them alive for ever."""
        if self._plan.before is not None:
            await predecessor.make_way(self._plan.before, limit_s=self._plan.drain_s)
        await self._gateway.begin()
        worker = await self._worker.begin()
        systemd.notify(f"READY=1\nMAINPID={os.getpid()}")
        now = self._presence
        self._plan.tell(Started(url=now.url, gateway_pid=now.gateway_pid, worker_pid=now.worker_pid, worker=worker))
        tasks = [asyncio.create_task(each) for each in (self._gateway.keep(), self._worker.keep(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _gateway_program(self) -> Program:
        return self._plan.gateway(self._listen, first=not self._presence.url)

    def _gateway_came(self, child: Child, said: Mapping[str, Any]) -> None:
        url = str(said["url"])
        self._listen = urlsplit(url).netloc  # the next one is found at the same place
        self._say(replace(self._presence, url=url, gateway_pid=child.pid, gateway_started=child.started))

    def _worker_came(self, child: Child, said: Mapping[str, Any]) -> None:
        del said
        self._say(replace(self._presence, worker_pid=child.pid, worker_started=child.started))

    def _say(self, presence: Presence) -> None:
        """A note that cannot be written (the disk is full) ends nothing: the lock is what counts."""
        self._presence = presence
        try:
            self._plan.note(presence)
        except OSError as error:
            log.error("serve.json is not written: %s", error.strerror)  # noqa: TRY400  (it is known why)

    async def _watch(self) -> None:
        """Kill a gateway that has not answered for long, so that it is started again; returns never."""
        loop = asyncio.get_running_loop()
        answered = loop.time()
        while True:
            await asyncio.sleep(self._patience.look_s)
            if not self._gateway.is_ready or await _answers(self._presence.url, limit_s=self._patience.answer_s):
                answered = loop.time()
            elif loop.time() - answered >= self._patience.silent_s and self._gateway.child is not None:
                log.error("the gateway has not answered for %.0f s: it is killed", loop.time() - answered)
                self._gateway.child.kill()

    def _on_signal(self) -> None:
        if self._told_to_end.is_set():
            self._hurried.set()
        self._told_to_end.set()

    def _on_hangup(self) -> None:
        """Settings are read again by those who go by them."""
        for keeper in (self._gateway, self._worker):
            keeper.send(signal.SIGHUP)

    async def _end(self, drain_s: float) -> None:
        """The worker first, then the gateway; what time the first leaves is the second's."""
        log.info("ending: what is under way may end")
        until = asyncio.get_running_loop().time() + drain_s
        await self._worker.end(until=until, hurried=self._hurried, hurry_s=self._patience.hurry_s)
        await self._gateway.end(until=until, hurried=self._hurried, hurry_s=self._patience.close_s)
        log.info("ended")


async def _answers(url: str, *, limit_s: float) -> bool:
    """Whether a gateway answers at its address, whatever it says."""
    place = urlsplit(url)
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 ")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
