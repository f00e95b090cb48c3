"""Three clocks on one exchange: a silent provider, a client that takes nothing, a client that is gone."""

from __future__ import annotations

import asyncio

import pytest

from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.watch import Watch

IDLE_S = 0.05


async def expired(policy: Policy, *, writing: bool = False, gone: bool = False, hurry: bool = False) -> list[str]:
    """What runs out, in order, within a few idle times."""
    seen: list[str] = []
    over = asyncio.Event()

    def expire(what: str) -> None:
        seen.append(what)
        if what != "client":
            over.set()

    watch = Watch(policy, idle_s=IDLE_S, expire=expire, is_gone=lambda: gone)
    watch.writing = writing
    if hurry:
        watch.hurry(0.01)
    async with asyncio.timeout(5):
        await over.wait()
    watch.stop()
    return seen


@pytest.mark.parametrize(
    ("policy", "state", "seen"),
    [
        (Policy(), {}, ["provider"]),
        (Policy(look_s=0.01, drain_s=0.01), {"gone": True}, ["drain"]),
        (Policy(longest_s=0.01), {}, ["provider"]),
        (Policy(), {"hurry": True}, ["provider"]),
    ],
    ids=["silent", "gone", "too long", "ending"],
)
def test_what_runs_out_is_told_once(policy: Policy, state: dict[str, bool], seen: list[str]) -> None:
    assert asyncio.run(expired(policy, **state)) == seen


def test_a_client_that_takes_nothing_is_dropped_and_the_answer_read_on() -> None:
    """The provider is not to blame: it gets its own time from then on."""
    assert asyncio.run(expired(Policy(longest_s=3 * IDLE_S), writing=True))[0] == "client"


def test_as_long_as_something_moves_nothing_runs_out() -> None:
    async def main() -> None:
        seen: list[str] = []
        watch = Watch(Policy(), idle_s=IDLE_S, expire=seen.append, is_gone=lambda: False)
        loop = asyncio.get_running_loop()
        for _ in range(8):
            await asyncio.sleep(IDLE_S / 3)
            watch.last = loop.time()
        assert seen == []
        watch.stop()

    asyncio.run(main())
