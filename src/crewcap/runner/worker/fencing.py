"""Who is alive, where several workers share one store: heartbeats, and the end of one that cannot give them.

A worker that was silent for `DEAD_AFTER_S` is taken for dead, and others go on with its runs. So it must be dead by
then: one that could not write its heartbeat for `FENCE_S` ends its agents and itself, while nobody yet believes that
it is gone. Both are reckoned by clocks that do not jump: the store's own for others, ours that only counts for us.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crewcap.errors import CrewcapError
from crewcap.runner.worker.engine import VERSION, Engine
from crewcap.stores import RunStore

log = logging.getLogger(__name__)

BEAT_S, FENCE_S, DEAD_AFTER_S = 5.0, 20.0, 30.0


@dataclass(slots=True, kw_only=True)
class Fence:
    """One worker's heartbeat, and its eye on the others."""

    runs: RunStore
    worker: str
    fall: Callable[[], None]  # ends this process and everything that it started, at once
    monotonic: Callable[[], float] = time.monotonic
    _beaten: float = field(init=False)

    def __post_init__(self) -> None:
        self._beaten = self.monotonic()

    async def keep(self) -> None:
        """Give heartbeats until we are cancelled, or cannot."""
        while True:
            began = self.monotonic()
            try:
                async with asyncio.timeout(BEAT_S):
                    await asyncio.to_thread(self.runs.beat, self.worker, version=VERSION)
                self._beaten = began
            except (CrewcapError, OSError, TimeoutError) as error:
                log.warning("no heartbeat could be given: %s", error)
            if self.monotonic() - self._beaten > FENCE_S:
                log.error("no heartbeat for %g s: others will take over, so this worker ends", FENCE_S)
                self.fall()
            await asyncio.sleep(BEAT_S)

    async def take_over(self, engine: Engine) -> int:
        """Put what dead workers left back into the queue; how many attempts those were. One worker at a time does."""
        return await asyncio.to_thread(self._dead) and await self._recover(engine)

    def _dead(self) -> bool:
        return any(seen.name != self.worker for seen in self.runs.workers(silent_s=DEAD_AFTER_S))

    async def _recover(self, engine: Engine) -> int:
        with self.runs.alone("recovery") as is_ours:
            if not is_ours:
                return 0
            dead = [seen.name for seen in self.runs.workers(silent_s=DEAD_AFTER_S) if seen.name != self.worker]
            count = await engine.recover(dead) if dead else 0
            for name in dead:
                log.warning("worker %s is dead: its runs go on here or elsewhere", name)
                self.runs.forget_worker(name)
            return count
