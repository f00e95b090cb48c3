"""A run whose money runs short is told so in its live session, and ends in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.gateway.conftest import says, script
from tests.runner.fake_agent import FakeAgent, finished
from tests.runner.rig import Rig, Shop

from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Said
from crewcap.gateway.money.admission import FROM_SLICE
from crewcap.runner.moments import Heard

ASKING: list[list[Any]] = [["ask", 16_000]] * 6  # four fill the cap but for its slice, and the last is served from it


def play(shop: Shop, agent: FakeAgent) -> Rig:
    """A dollar's run, whose answers are as long as they may be."""

    async def main() -> Rig:
        async with shop.open(agent, provider=script(says(20_000))) as rig:
            await rig.drive()
            return rig

    return asyncio.run(main())


def heard(rig: Rig) -> list[str]:
    return [moment.event.text for moment in rig.moments if isinstance(moment, Heard) and isinstance(moment.event, Said)]


def notes(shop: Shop, rig: Rig) -> list[str]:
    return [note for entry in shop.ledger.entries(scope=Scope(f"run:{rig.run.id}")) for note in entry.notes]


def test_an_agent_is_told_to_wrap_up_when_only_the_slice_is_left(shop: Shop) -> None:
    """Once, with what is left in it; the story and the run say that it was."""
    rig = play(shop, FakeAgent(finished(*ASKING, ["listen"]), can_be_told=True))
    (told,) = [text for text in heard(rig) if text.startswith("told: ")]
    assert "The money for this run is nearly used up" in told
    assert " of $1.00 is left" in told
    assert rig.run.wrap_up.endswith("left, the agent was told to wrap up")
    assert f"final slice: {rig.run.wrap_up}" in rig.story()
    assert notes(shop, rig).count(FROM_SLICE) == 1
    assert Money.usd("0.97") < rig.totals().spent <= Money.usd(1)


def test_an_agent_that_cannot_be_told_is_served_from_the_slice_all_the_same(shop: Shop) -> None:
    """Its report says that nobody could tell it."""
    rig = play(shop, FakeAgent(finished(*ASKING, ["listen"])))
    assert "nobody will say more" in heard(rig)
    assert rig.run.wrap_up.endswith("left, the agent cannot be told while it works")
    assert notes(shop, rig).count(FROM_SLICE) == 1


@pytest.mark.parametrize("can_be_told", [True, False])
def test_a_run_with_money_left_hears_nothing(shop: Shop, *, can_be_told: bool) -> None:
    """Nor does it wait for anything at its end."""
    rig = play(shop, FakeAgent(finished(["ask"]), can_be_told=can_be_told))
    assert rig.run.wrap_up == ""
    assert not [text for text in rig.story() if text.startswith("final slice")]
