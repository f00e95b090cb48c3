"""The real Gemini CLI through the gateway: metered to the nano, stopped by one refusal, unharmed by a bad stream."""

from __future__ import annotations

import pytest
from tests.e2e.sdks import Between

from crewcap.core.money import ZERO, Money

from . import scripts
from .cli import Machine, pinned
from .conftest import Playing, charged

pytestmark = [pytest.mark.npm_agents, pytest.mark.timeout(240)]


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-3.8-flash"])
def test_it_changes_a_file_and_costs_what_was_billed(play: Playing, model: str) -> None:
    async def story(machine: Machine, it: Between) -> None:
        done = await machine.gemini(it.key.secret, scripts.ASKED, model=model)
        assert (done.status, done.events[-1]["status"]) == (0, "success")
        assert (machine.repo / "a.txt").read_text("utf-8") == "two\n"
        assert [record.step for record in it.simulator.log.messages()] == ["look", "change", "done"]
        assert await it.booked() == it.simulator.meter.total() > ZERO
        bills = [bill.usage for bill in it.simulator.meter.bills]
        stats = done.events[-1]["stats"]
        assert stats["input_tokens"] == sum(usage.prompt for usage in bills)
        assert stats["cached"] == sum(usage.cache_read for usage in bills) > 5_000
        assert stats["total_tokens"] == sum(usage.prompt + usage.output for usage in bills)
        assert f"/{pinned('@google/gemini-cli')}/{model} " in it.simulator.log.messages()[0].headers["user-agent"]

    play(story, scripts.happy("gemini"), record=f"gemini-{model.removeprefix('gemini-')}")


def test_a_refusal_at_its_second_turn_ends_it_after_one_refused_request(play: Playing) -> None:
    """Its own attempts are as they come: ten. It shows our words and ends with the status, modulo 256."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.gemini(it.key.secret, scripts.ASKED, attempts=10)
        assert [refusal.kind for refusal in it.seen.refusals] == ["budget"]
        assert len(it.simulator.log.messages()) == 1
        assert done.status == 400 % 256
        assert done.events[-1]["status"] == "error"
        assert "budget" in done.events[-1]["error"]["message"]
        assert await it.booked() == it.simulator.meter.total() > Money.usd("0.25")

    play(story, scripts.costly("gemini", cost_usd="0.30"), cap="0.40", record="gemini-refused")


def test_a_whole_cap_is_never_passed_however_long_it_works(play: Playing) -> None:
    """Its own limit of turns is twelve here; the money ends first."""

    async def story(machine: Machine, it: Between) -> None:
        await machine.gemini(it.key.secret, scripts.ASKED)
        assert len(it.seen.refusals) <= 1
        total = await charged(it)
        assert it.simulator.meter.total() == total <= Money.usd("0.60")
        assert total > Money.usd("0.38")
        assert 4 <= len(it.simulator.log.messages()) < 12

    play(story, scripts.endless("gemini"), cap="0.60")


def test_an_answer_that_the_clamp_cut_short_looks_like_success_to_it(play: Playing) -> None:
    """It exits with 0 and says nothing: a verdict may not rest on either."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.gemini(it.key.secret, scripts.ASKED)
        assert (done.status, done.events[-1]["status"]) == (0, "success")
        assert [record.stop_reason for record in it.simulator.log.messages()] == ["max_tokens"]
        assert not it.seen.refusals
        assert await it.booked() == it.simulator.meter.total() > Money.usd("0.25")

    play(story, scripts.costly("gemini", cost_usd="0.60"), cap="0.40")


def test_a_cut_stream_stays_charged(play: Playing) -> None:
    async def story(machine: Machine, it: Between) -> None:
        done = await machine.gemini(it.key.secret, scripts.ASKED)
        assert done.status != 0 or done.events[-1]["status"] != "success"
        assert await charged(it) >= it.simulator.meter.total() > ZERO
        assert len({end.request.hold for end in it.seen.ends}) == len(it.simulator.log.messages())

    play(story, scripts.broken("gemini", "cut = 9"), record="gemini-cut")


def test_a_provider_that_falls_silent_is_given_up_by_the_gateway(play: Playing) -> None:
    async def story(machine: Machine, it: Between) -> None:
        done = await machine.gemini(it.key.secret, scripts.ASKED)
        assert done.status != 0 or done.events[-1]["status"] != "success"
        assert await charged(it) >= it.simulator.meter.total() > ZERO

    play(story, scripts.broken("gemini", "hang = 9"), idle_s=1.5)
