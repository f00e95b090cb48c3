"""Work goes from one loop to another, and its end comes back as an answer, as a failure, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from crewcap.runner.worker.handover import Here, StepFailed


class Elsewhere:
    """A loop in another thread, as DBOS has one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def ask(self, work: Coroutine[Any, Any, str]) -> Future[str]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()
    yield found
    found.end()


def test_work_is_done_here_and_answered_there(elsewhere: Elsewhere) -> None:
    """Each side keeps to its own loop."""

    async def scene() -> None:
        here, done_by = Here(), set[int]()
        here.open(asyncio.get_running_loop())

        async def work() -> str:
            done_by.add(threading.get_ident())
            return "done"

        answer = elsewhere.ask(here.do("key", "turn", "step", work))
        assert await asyncio.wrap_future(answer) == "done"
        assert done_by == {threading.get_ident()}

    asyncio.run(scene())


def test_a_failure_is_told_without_its_words(elsewhere: Elsewhere) -> None:
    """They may quote what nobody may store."""

    async def scene() -> None:
        here = Here()
        here.open(asyncio.get_running_loop())

        async def work() -> str:
            raise ValueError("sk-ant-fake-0123")

        with pytest.raises(StepFailed, match=r"\Astep\Z"):
            await asyncio.wrap_future(elsewhere.ask(here.do("key", "turn", "step", work)))

    asyncio.run(scene())


def test_who_cancels_there_waits_until_it_has_ended_here(elsewhere: Elsewhere) -> None:
    """A workspace is not taken from under a step that cleans up."""

    async def scene() -> None:
        here, began, ended = Here(), asyncio.Event(), list[str]()
        here.open(asyncio.get_running_loop())

        async def work() -> str:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("clean")
            return ""

        async def there() -> str:
            asked = asyncio.ensure_future(here.do("key", "turn", "step", work))
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_wait(began), home))
            asked.cancel()
            await asyncio.wait({asked})
            assert asked.cancelled()
            return ",".join(ended)

        home = asyncio.get_running_loop()
        assert await asyncio.wrap_future(elsewhere.ask(there())) == "clean"

    asyncio.run(scene())


def test_closed_it_begins_nothing_and_answers_nothing(elsewhere: Elsewhere) -> None:
    """An answer would be written down as the end of something."""

    async def scene() -> None:
        here, began = Here(), asyncio.Event()
        here.open(asyncio.get_running_loop())

        async def work() -> str:
            began.set()
            await asyncio.Event().wait()
            return ""

        under_way = elsewhere.ask(here.do("one", "one", "step", work))
        await asyncio.wait_for(began.wait(), 10)
        began.clear()
        await here.close(5.0)
        late = elsewhere.ask(here.do("two", "two", "step", work))
        await asyncio.wrap_future(elsewhere.ask(_turns(3)))
        assert not under_way.done()
        assert not late.done()
        assert not began.is_set()
        for asked in (under_way, late):
            asked.cancel()
        await asyncio.wrap_future(elsewhere.ask(_turns(3)))

    asyncio.run(scene())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _turns(times: int) -> str:
    """Give both loops the chance to do what they have."""
    for _ in range(times):
        await asyncio.sleep(0)
    return ""
