"""Setup and check share one time, and who waits for them hears of it."""

from __future__ import annotations

import asyncio

import pytest

from crewcap.cli.start.patience import Patience


async def _told(limit_s: float) -> float:
    return limit_s


def test_a_command_is_told_what_is_left_and_never_more_than_half_an_hour() -> None:
    assert asyncio.run(Patience(40, print).see("setup", _told)) == 40
    assert asyncio.run(Patience(7_200, print).see("setup", _told)) == 1_800


def test_the_second_command_has_what_the_first_one_left() -> None:
    async def both() -> float:
        patience = Patience(40, print)
        await patience.see("setup", lambda _: asyncio.sleep(0.05))
        assert not patience.is_over
        return await patience.see("check", _told)

    assert 39 < asyncio.run(both()) <= 39.95


def test_who_waits_hears_of_it_and_of_its_limit_and_then_that_it_is_over() -> None:
    said: list[str] = []
    patience = Patience(0.2, said.append, first_s=0.04)
    asyncio.run(patience.see("setup", lambda _: asyncio.sleep(0.25)))
    assert said
    assert all(line == "setup is at work: 0 s of at most 0 s" for line in said)
    assert patience.is_over


def test_who_leaves_takes_the_command_along() -> None:
    ended = asyncio.Event()

    async def work(_: float) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def leave() -> None:
        async with asyncio.timeout(0.05):
            await Patience(60, print).see("setup", work)

    with pytest.raises(TimeoutError):
        asyncio.run(leave())
    assert ended.is_set()
