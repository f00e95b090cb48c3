"""The time of a rehearsal's commands: that of a run there, shared by setup and check; and a word while they run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_LONGEST_S = 1_800.0  # of one command, as in a run
_FIRST_S, _EVERY_S = 10.0, 60.0


class Patience:
    """What is left of a run's time before its agent; `note` takes a line for whoever waits."""

    def __init__(self, timeout_s: float, note: Callable[[str], None], *, first_s: float = _FIRST_S) -> None:
        self._left_s, self._note, self._first_s = timeout_s, note, first_s

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._left_s <= 0

    async def see(self, name: str, work: Callable[[float], Awaitable[T]]) -> T:
        """Wait for a command that is told its limit in seconds; say now and then that it is on its way."""
        limit_s, began = min(_LONGEST_S, self._left_s), time.monotonic()
        task = asyncio.ensure_future(work(limit_s))
        try:
            await self._wait(task, name, began, limit_s)
        except BaseException:
            task.cancel()
            await asyncio.wait({task})
            raise
        self._left_s -= time.monotonic() - began
        return task.result()

    async def _wait(self, task: asyncio.Future[T], name: str, began: float, limit_s: float) -> None:
        while not (await asyncio.wait({task}, timeout=self._pause(time.monotonic() - began)))[0]:
            self._note(f"{name} is at work: {time.monotonic() - began:.0f} s of at most {limit_s:.0f} s")

    def _pause(self, waited_s: float) -> float:
        """Often at first, once a minute later."""
        return min(_EVERY_S, max(self._first_s, waited_s))
