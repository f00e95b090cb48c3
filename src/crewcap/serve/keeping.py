"""One child that is kept alive: started, waited for, started again.

The first start must succeed: what is wrong then is wrong with the settings or the machine, and is for whoever typed the
command. Later nobody is there to read it, so:

- a child that *died* is started again after a pause that doubles (0.1 s, 0.2 s, ...). One that dies five times within a
  minute will do so again; we stop, say so, and leave what it worked on to be gone on with.
- a child that *refused* to start (the database is away, the disk full, the settings half written) said why, and that
  passes by itself as often as not: it is asked again for as long as we live, with pauses from two seconds to thirty.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from crewcap.errors import CrewcapError
from crewcap.serve.children import Child, Program

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things may take, and how often they may go wrong."""

    start_s: float = 60
    most_deaths: int = 5
    within_s: float = 60
    pause_s: float = 0.1  # after the first death; doubles with each
    refused_s: float = 2  # after the first refusal; doubles with each
    longest_pause_s: float = 30
    look_s: float = 15  # how often a gateway is asked whether it answers
    answer_s: float = 10  # how long one answer may take
    silent_s: float = 60  # how long it may give no answer
    hurry_s: float = 3  # what a worker gets when there is no time left: it stores where its runs are
    close_s: float = 1.5  # what a gateway gets then


Came = Callable[[Child, Mapping[str, Any]], None]


class Keeper:
    """The child with one name."""

    def __init__(self, program: Callable[[], Program], *, patience: Patience, came: Came) -> None:
        self._program = program
        self._patience = patience
        self._came = came  # told of every child that is ready
        self._deaths: deque[float] = deque(maxlen=patience.most_deaths)
        self._refusals = 0
        self.child: Child | None = None
        self.is_ready = False

    async def begin(self) -> Mapping[str, Any]:
        """The first start. A child that was killed while it started has refused nothing: it is started once more."""
        try:
            return await self.start()
        except CrewcapError as error:
            if self.child is None or self.child.said_error:
                raise
            log.warning("the %s ended while it started (%s); it is started again", self.child.name, error.message)
            self.child.kill()
            await self.child.ended()
            await self.child.close()
        return await self.start()

    async def start(self) -> Mapping[str, Any]:
        """Start it once; what it says of itself, or its error."""
        self.child = await Child.start(self._program())
        said = await self.child.ready(self._patience.start_s)
        self.is_ready = True
        self._came(self.child, said)
        return said

    async def keep(self) -> None:
        """Start it again whenever it has ended; returns never, raises when it dies too often."""
        while True:
            assert self.child is not None  # noqa: S101  (started before it is kept)
            how = await self.child.ended()
            self.is_ready = False
            await self.child.close()
            pause_s = self._after_death(self.child.name, how)
            log.warning("the %s %s; it is started again in %.1f s", self.child.name, how, pause_s)
            await asyncio.sleep(pause_s)
            await self._again()

    async def _again(self) -> None:
        """Until it is ready, or has died while it started."""
        while True:
            try:
                await self.start()
            except CrewcapError as error:
                if not await self._refused(error):
                    return
            except OSError as error:
                await self._wait_after_refusal("a child", str(error.strerror))
            else:
                assert self.child is not None  # noqa: S101  (it was just started)
                self._refusals = 0
                log.warning("the %s works again (process %s)", self.child.name, self.child.pid)
                return

    async def _refused(self, error: CrewcapError) -> bool:
        """Whether it is to be asked again; one that said nothing has died, and `keep` sees to it."""
        assert self.child is not None  # noqa: S101  (it was just started)
        if not self.child.said_error:
            self.child.kill()
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.start_s):
                await self.child.ended()
        self.child.kill()
        await self.child.close()
        await self._wait_after_refusal(f"the {self.child.name}", error.message)
        return True

    async def _wait_after_refusal(self, who: str, why: str) -> None:
        pause_s = min(self._patience.refused_s * 2**self._refusals, self._patience.longest_pause_s)
        self._refusals += 1
        log.error("%s does not start: %s; it is tried again in %.0f s", who, why, pause_s)
        await asyncio.sleep(pause_s)

    def _after_death(self, name: str, how: str) -> float:
        """How long to wait before the next start."""
        patience, now = self._patience, time.monotonic()
        self._deaths.append(now)
        recent = [at for at in self._deaths if now - at < patience.within_s]
        if len(recent) >= patience.most_deaths:
            raise CrewcapError(
                f"the {name} died {len(recent)} times within {patience.within_s:.0f} s: the last one {how}",
                help="the log says why; what was under way is kept: start crewcap serve again when that is mended",
            )
        return float(min(patience.pause_s * 2 ** (len(recent) - 1), patience.longest_pause_s))

    def send(self, number: int) -> None:
        """A signal to a child that is ready for it: before that it would end one that only starts."""
        if self.child is not None and self.is_ready:
            self.child.send(number)

    async def end(self, *, until: float, hurried: asyncio.Event, hurry_s: float) -> None:
        """Ask it to end, wait until then (a time of the loop) at the most, hurry it, kill it."""
        if self.child is None:
            return
        child, ended = self.child, asyncio.ensure_future(self.child.ended())
        try:
            child.send(signal.SIGTERM)
            await _first(ended, hurried, until - asyncio.get_running_loop().time())
            if not ended.done():
                child.send(signal.SIGTERM)
                await asyncio.wait([ended], timeout=hurry_s)
            if not ended.done():
                log.error("the %s does not end: it is killed", child.name)
                child.kill()
            await ended
        finally:
            ended.cancel()
            with suppress(asyncio.CancelledError):
                await child.close()


async def _first(ended: asyncio.Future[str], hurried: asyncio.Event, limit_s: float) -> None:
    """Wait for whichever comes first."""
    hurry = asyncio.ensure_future(hurried.wait())
    try:
        both: list[asyncio.Future[Any]] = [ended, hurry]
        await asyncio.wait(both, timeout=max(0, limit_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        hurry.cancel()
