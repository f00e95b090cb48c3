"""Transcripts are imported again and again, a bounded part at a time."""

from __future__ import annotations

import asyncio

from crewcap.transcripts.importing import Outcome
from crewcap.transcripts.watching import watch

from .conftest import Desk
from .test_importing import message


def test_it_reads_what_is_left_at_once_and_then_what_comes(desk: Desk) -> None:
    async def story() -> list[Outcome]:
        for number in range(3):
            desk.write(f"{number}.jsonl", message(number))
        rounds = []
        async with asyncio.timeout(20):
            async for outcome in watch(desk.importer(), lambda: [desk.folder], every_s=0.01, bytes_a_round=1):
                rounds.append(outcome)
                if len(rounds) == 3:
                    desk.write("late.jsonl", message(9))
                if desk.whole().messages == 4:
                    return rounds
        return rounds

    rounds = asyncio.run(story())
    assert [outcome.left for outcome in rounds[:3]] == [2, 1, 0]
    assert sum(outcome.read for outcome in rounds) == 4
