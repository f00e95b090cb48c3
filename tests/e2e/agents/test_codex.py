"""The real Codex CLI through the gateway: metered to the nano, stopped by one refusal, unharmed by a bad stream."""

from __future__ import annotations

import pytest
from tests.e2e.sdks import Between

from crewcap.core.money import ZERO, Money

from . import scripts
from .cli import Done, Machine, pinned
from .conftest import Playing, charged

pytestmark = [pytest.mark.npm_agents, pytest.mark.timeout(240)]


def items(done: Done, kind: str) -> list[dict[str, object]]:
    return [
        event["item"] for event in done.events if event["type"] == "item.completed" and event["item"]["type"] == kind
    ]


@pytest.mark.parametrize(
    ("model", "steps"), [("gpt-5.5", ["look", "change", "done"]), ("gpt-6.1-sol", ["program", "done"])]
)
def test_it_changes_a_file_and_costs_what_was_billed(play: Playing, model: str, steps: list[str]) -> None:
    """Older models call tools one by one; newer ones write programs that call them."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED, model=model)
        assert (done.status, done.events[-1]["type"]) == (0, "turn.completed")
        assert (machine.repo / "a.txt").read_text("utf-8") == "two\n"
        assert [record.step for record in it.simulator.log.messages()] == steps
        assert await it.booked() == it.simulator.meter.total() > ZERO
        told = done.events[-1]["usage"]
        bills = [bill.usage for bill in it.simulator.meter.bills]
        assert told["input_tokens"] == sum(usage.prompt for usage in bills)
        assert told["cached_input_tokens"] == sum(usage.cache_read for usage in bills) > 5_000
        assert told["output_tokens"] == sum(usage.output for usage in bills)

    play(story, scripts.happy("codex"), record=f"codex-{model}")


def test_its_version_is_the_one_that_is_pinned(play: Playing) -> None:
    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED)
        assert done.status == 0
        assert it.simulator.log.messages()[0].headers["user-agent"].startswith(f"codex_exec/{pinned('@openai/codex')} ")

    play(story, scripts.happy("codex"))


def test_no_header_tells_the_provider_of_its_machine(play: Playing) -> None:
    """Codex tells its folders and its git state in one; its body, which goes on as received, it writes as it likes."""

    async def story(machine: Machine, it: Between) -> None:
        await machine.codex(it.key.secret, scripts.ASKED)
        for record in it.simulator.log.messages():
            said = f"{dict(record.headers)}"
            assert str(machine.root) not in said
            assert it.key.secret not in said + record.key

    play(story, scripts.happy("codex"))


def test_its_own_agents_are_metered_on_the_same_key(play: Playing) -> None:
    """Their requests name them, so the ledger can tell them apart; Codex's own total leaves them out."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED, model="gpt-6.1-sol")
        assert done.status == 0
        assert [record.agent for record in it.simulator.log.messages()].count("sub") == 1
        assert await it.booked() == it.simulator.meter.total()
        agents = [entry.agent for entry in it.ledger.entries()]
        assert [bool(agent) for agent in agents].count(True) == 1
        billed = sum(bill.usage.prompt for bill in it.simulator.meter.bills)
        assert done.events[-1]["usage"]["input_tokens"] < billed

    play(story, scripts.spawning(), record="codex-spawning")


def test_its_built_in_provider_falls_back_from_a_websocket_at_once(play: Playing) -> None:
    """Pointed here by its base URL alone it tries a WebSocket first; 426 sends it back to HTTP after one try."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED, built_in=True)
        assert (done.status, done.events[-1]["type"]) == (0, "turn.completed")
        assert (machine.repo / "a.txt").read_text("utf-8") == "two\n"
        assert done.err.count("failed to connect to Responses WebSocket") <= 1
        assert await it.booked() == it.simulator.meter.total()

    play(story, scripts.happy("codex"))


def test_a_refusal_at_its_second_turn_ends_it_after_one_refused_request(play: Playing) -> None:
    """Its own retries are as they come: five of streams, four of requests. It shows our words and ends with 1."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED)
        assert [refusal.kind for refusal in it.seen.refusals] == ["budget"]
        assert len(it.simulator.log.messages()) == 1
        assert done.status == 1
        assert done.events[-1]["type"] == "turn.failed"
        assert "budget" in done.events[-1]["error"]["message"]
        assert await it.booked() == it.simulator.meter.total() > Money.usd("0.50")

    play(story, scripts.costly("codex", cost_usd="0.55"), cap="0.60", record="codex-refused")


def test_a_whole_cap_is_never_passed_however_long_it_works(play: Playing) -> None:
    """Codex has no limit of its own. Its last turn is cut short rather than refused, and the cap holds."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED)
        assert done.status == 1
        assert len(it.seen.refusals) <= 1
        total = await charged(it)
        assert it.simulator.meter.total() == total <= Money.usd("0.60")
        assert total > Money.usd("0.40")
        assert len(it.simulator.log.messages()) >= 3

    play(story, scripts.endless("codex"), cap="0.60")


@pytest.mark.parametrize("retries", [0, 1])
def test_a_cut_stream_costs_what_each_try_may_have_cost(play: Playing, retries: int) -> None:
    """Codex asks again as often as it is told to; every try has a hold of its own, and stays charged."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED, retries=retries)
        assert (done.status, done.events[-1]["type"]) == (1, "turn.failed")
        tries = [record for record in it.simulator.log.messages() if record.step == "break"]
        assert len(tries) == 1 + retries
        assert await charged(it) >= it.simulator.meter.total()
        assert len({end.request.hold for end in it.seen.ends}) == 2 + retries

    play(story, scripts.broken("codex", "cut = 14"), record="codex-cut" if retries else "")


def test_a_provider_that_falls_silent_is_given_up_by_the_gateway(play: Playing) -> None:
    """Long before Codex would: its own limit is five minutes."""

    async def story(machine: Machine, it: Between) -> None:
        done = await machine.codex(it.key.secret, scripts.ASKED, retries=0)
        assert (done.status, done.events[-1]["type"]) == (1, "turn.failed")
        assert [record.step for record in it.simulator.log.messages()] == ["look", "break"]
        assert await charged(it) >= it.simulator.meter.total()

    play(story, scripts.broken("codex", "hang = 14"), idle_s=1.5)
