"""Between two event loops: what the engine's loop asks for is done on ours, and how it ended is told back.

Every piece of work ends for the engine in one of three ways: with an answer, with `StepFailed`, or not at all. The last
is the word for "nobody wants to know": the process is ending, or the workflow was cancelled. The engine then hears
nothing, stores nothing, and what it has written down so far stands: a cancellation that reached it as an error would
lose the run, and one that reached it as itself would leave a workflow that is pending and that nobody performs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
_PARKED: Final = object()
log = logging.getLogger(__name__)


class StepFailed(Exception):
    """A step raised something of its own; the log has it."""


class Here:
    """The loop that called `start`: what DBOS's loop hands over is done on it, and its end is told back."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: dict[asyncio.Task[Any], str] = {}
        self._dropped: set[asyncio.Task[Any]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._owed: dict[str, asyncio.Future[None]] = {}  # told, and not yet written down
        self._closed = False

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work is done on this loop from now on."""
        self._loop = loop
        self._closed = False

    async def close(self, within_s: float) -> None:
        """Cancel everything, wait until it has ended and its answers are written down, and begin nothing more."""
        self._closed = True
        deadline = asyncio.get_running_loop().time() + within_s
        for task in self._under_way:
            task.cancel()
        if late := await _wait(self._under_way, deadline):
            log.warning("%d steps did not end within %g s; they are resumed at the next start", late, within_s)
        if late := await _wait(self._owed.values(), deadline):
            log.warning("%d steps were done and could not be written down; they are performed again", late)

    def written(self, key: str) -> None:
        """Called on DBOS's loop when an answer is where it survives, or never will be."""
        assert self._loop is not None  # noqa: S101  (opened before DBOS is)
        self._loop.call_soon_threadsafe(self._settle, key)

    def _settle(self, key: str) -> None:
        owed = self._owed.pop(key, None)
        if owed is not None and not owed.done():
            owed.set_result(None)

    def drop(self, key: str) -> None:
        """Cancel what is done for a workflow that has ended."""
        for task in [task for task, of in self._under_way.items() if of == key]:
            self._dropped.add(task)
            task.cancel()

    async def do(self, key: str, turn: str, named: str, work: Callable[[], Awaitable[T]]) -> T:
        """Called on DBOS's loop. Where nobody wants the answer any more, wait until DBOS says so itself."""
        assert self._loop is not None  # noqa: S101  (opened before DBOS is)
        ended = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._guarded(key, turn, named, work), self._loop))
        try:
            answer = await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not self._closed:
                self._loop.call_soon_threadsafe(self.drop, key)
                await asyncio.wait({ended})
            raise
        if answer is _PARKED:
            await asyncio.get_running_loop().create_future()
        return answer  # type: ignore[return-value]  # not the mark

    async def _guarded(self, key: str, turn: str, named: str, work: Callable[[], Awaitable[T]]) -> T | object:
        """On our loop: one at a time for a run, and every end is an answer, a `StepFailed` or nothing at all."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine that was scheduled)
        if self._closed:
            return _PARKED
        self._under_way[task] = key
        try:
            async with self._turns.setdefault(turn, asyncio.Lock()):
                answer = await work()
        except asyncio.CancelledError:
            if self._is_unwanted(task):
                return _PARKED
            log.error("%s: %s was cancelled by nobody who may", key, named)  # noqa: TRY400  (there is no more to tell)
            raise StepFailed(named) from None
        except Exception as error:
            log.exception("%s: %s failed", key, named)
            raise StepFailed(named) from error
        else:
            self._owed[key] = asyncio.get_running_loop().create_future()
            return answer
        finally:
            del self._under_way[task]
            self._dropped.discard(task)

    def _is_unwanted(self, task: asyncio.Task[Any]) -> bool:
        return self._closed or task in self._dropped


async def _wait(ends: Iterable[asyncio.Future[Any]], deadline: float) -> int:
    """Wait for them until then; how many are late."""
    waited = tuple(ends)
    if not waited:
        return 0
    _, late = await asyncio.wait(waited, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    return len(late)
