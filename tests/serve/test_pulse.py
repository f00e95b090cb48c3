"""Whether a loop goes round is what the loop itself said last."""

from __future__ import annotations

import asyncio
import time

from crewcap.serve.pulse import Pulse


def test_a_loop_that_goes_round_says_so_again_and_again() -> None:
    async def listen() -> int:
        heard, enough = [], asyncio.Event()

        def say() -> None:
            heard.append(pulse.is_going)
            if len(heard) >= 3:
                enough.set()

        pulse = Pulse(stuck_s=0.1)
        keeping = asyncio.create_task(pulse.keep(say))
        async with asyncio.timeout(30):
            await enough.wait()
        keeping.cancel()
        assert all(heard)
        return len(heard)

    assert asyncio.run(listen()) >= 3


def test_a_loop_that_stands_still_is_seen_from_another_thread() -> None:
    """It is in a call that does not come back; a thread's heartbeat is no proof of the loop."""

    async def stand_still() -> bool:
        pulse = Pulse(stuck_s=0.05)
        keeping = asyncio.create_task(pulse.keep())
        await asyncio.sleep(0)
        seen = asyncio.to_thread(_until_stuck, pulse)
        looking = asyncio.create_task(seen)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  (what stuck means)
        keeping.cancel()
        return await looking

    assert asyncio.run(stand_still())


def _until_stuck(pulse: Pulse) -> bool:
    deadline = time.monotonic() + 30
    while pulse.is_going:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
