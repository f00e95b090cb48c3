"""One thread that talks to the ledger, so that the event loop never waits for a disk.

Jobs run in the order in which they were given: a hold that is asked for after a settlement was handed in sees it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Writer:
    """A thread with a queue; `do` hands in a job and returns a future of this event loop."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="crewcap-ledger", daemon=True)
        self._thread.start()

    def do(self, call: Callable[..., T], *arguments: Any, **named: Any) -> asyncio.Future[T]:
        """Run `call` after everything handed in before."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((partial(call, *arguments, **named), future))
        return future

    async def stop(self) -> None:
        """Finish what was handed in, and end."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  (it is raised again where the job was handed in)
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_succeed, future, result)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
