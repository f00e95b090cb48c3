"""Fan-out: agents, depth and requests at the same time, by the agents' own words, which may be lies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import Rig, RigMaker, script

from crewcap.core.budget import Scope
from crewcap.core.routing import FanOut
from crewcap.gateway.front.fanout import MOST_NAMES, Seen, Speaker, Tree, speaker
from crewcap.simulator.script import Step

NAMES = st.sampled_from(["", "a", "b", "c", "d", "e", "f"])


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({}, Speaker()),
        ({"x-claude-code-session-id": "s"}, Speaker()),
        ({"x-claude-code-agent-id": "a"}, Speaker("a")),
        ({"x-claude-code-agent-id": "b", "x-claude-code-parent-agent-id": "a"}, Speaker("b", "a")),
        ({"x-claude-code-parent-agent-id": "a"}, Speaker()),
        ({"session-id": "s", "thread-id": "s"}, Speaker()),
        ({"session-id": "s", "thread-id": "t"}, Speaker()),
        (
            {"session-id": "s", "thread-id": "t", "x-codex-parent-thread-id": "s", "x-openai-subagent": "collab_spawn"},
            Speaker("t"),
        ),
        ({"session-id": "s", "thread-id": "u", "x-codex-parent-thread-id": "t"}, Speaker("u", "t")),
        ({"thread-id": "t", "x-openai-subagent": "review"}, Speaker("t")),
        ({"x-claude-code-agent-id": "  "}, Speaker()),
    ],
)
def test_who_speaks_is_read_from_each_agents_own_headers(headers: dict[str, str], who: Speaker) -> None:
    assert speaker(headers) == who


def test_a_name_is_kept_no_longer_than_a_name_is() -> None:
    assert len(speaker({"x-claude-code-agent-id": "x" * 5_000}).agent) == 80


def test_agents_beyond_the_limit_are_refused_and_those_before_go_on() -> None:
    tree = Tree(FanOut(agents=2))
    assert [tree.refusal(Speaker(name)) for name in ("a", "b", "a")] == ["", "", ""]
    said = tree.refusal(Speaker("c"))
    assert said == "this run may have 2 agents beside its main conversation and has 2"
    assert tree.refusal(Speaker("c")) == said
    assert tree.refusal(Speaker("b")) == ""
    assert tree.refusal(Speaker()) == ""
    assert (tree.agents, tree.refused) == (2, 2)


def test_nesting_beyond_the_limit_is_refused_and_not_counted() -> None:
    tree = Tree(FanOut(depth=2))
    assert tree.refusal(Speaker("a")) == ""
    assert tree.refusal(Speaker("b", "a")) == ""
    assert tree.refusal(Speaker("c", "b")) == "agents of this run may be nested 2 deep and this one is at 3"
    assert (tree.agents, tree.depth) == (2, 2)


def test_a_depth_of_one_lets_subagents_start_none() -> None:
    tree = Tree(FanOut(depth=1))
    assert tree.refusal(Speaker("a")) == ""
    assert tree.refusal(Speaker("b", "a"))


def test_a_parent_that_nobody_has_heard_of_counts_as_an_agent() -> None:
    """Inventing parents uses up the limit twice as fast; it buys nothing."""
    tree = Tree(FanOut(agents=3))
    assert tree.refusal(Speaker("b", "ghost")) == ""
    assert (tree.agents, tree.depth) == (2, 2)
    assert tree.refusal(Speaker("d", "phantom"))


def test_a_ring_of_parents_climbs_until_it_is_refused() -> None:
    tree = Tree(FanOut(depth=5))
    said = [tree.refusal(Speaker(*pair)) for _ in range(4) for pair in (("a", "b"), ("b", "a"))]
    assert said[0] == ""
    assert any(said)
    assert tree.depth <= 5


def test_an_agent_that_is_its_own_parent_climbs_too() -> None:
    tree = Tree(FanOut(depth=3))
    assert [bool(tree.refusal(Speaker("a", "a"))) for _ in range(4)] == [False, False, True, True]


def test_a_better_parent_makes_nobody_shallower() -> None:
    tree = Tree(FanOut(depth=3))
    assert tree.refusal(Speaker("a")) == ""
    assert tree.refusal(Speaker("b", "a")) == ""
    assert tree.refusal(Speaker("b")) == ""
    assert tree.refusal(Speaker("c", "b")) == ""
    assert tree.refusal(Speaker("d", "c"))


def test_what_is_remembered_has_an_end_where_no_limit_is_set() -> None:
    tree = Tree(FanOut())
    said = [tree.refusal(Speaker(str(number))) for number in range(MOST_NAMES + 1)]
    assert said[-2:] == ["", f"this run may have {MOST_NAMES} agents beside its main conversation and has {MOST_NAMES}"]
    assert tree.agents == MOST_NAMES


@given(words=st.lists(st.tuples(NAMES, NAMES), max_size=40), agents=st.integers(1, 5), depth=st.integers(1, 4))
@settings(max_examples=200)
def test_no_words_take_a_tree_over_its_limits(words: list[tuple[str, str]], agents: int, depth: int) -> None:
    """Whatever is claimed, in whatever order, the tree that is let in stays inside its limits."""
    tree = Tree(FanOut(agents=agents, depth=depth))
    for agent, parent in words:
        before = tree.agents
        if tree.refusal(Speaker(agent, parent)):
            assert tree.agents == before
        assert tree.agents <= agents
        assert tree.depth <= depth


@given(shape=st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_an_honest_tree_is_counted_as_it_is(shape: list[int]) -> None:
    """Each agent's parent has spoken before it, as it must have to start anybody."""
    tree, depths = Tree(FanOut()), [0]
    for number, pick in enumerate(shape, start=1):
        parent = pick % number
        who = Speaker(str(number), str(parent) if parent else "")
        assert tree.refusal(who) == ""
        depths.append(depths[parent] + 1)
    assert (tree.agents, tree.depth) == (len(shape), max(depths))


def wait_turn(tree: Tree, *, wait_s: float = 5.0) -> asyncio.Task[bool]:
    return asyncio.create_task(tree.turn(wait_s=wait_s, is_gone=lambda: False, look_s=0.01))


def test_requests_beyond_the_limit_wait_their_turn_in_order() -> None:
    async def main() -> None:
        tree, order = Tree(FanOut(concurrent=1)), []

        async def one(name: str) -> None:
            assert await tree.turn(wait_s=5, is_gone=lambda: False, look_s=0.01)
            with tree.request():
                order.append(name)
                assert tree.running == 1
                await asyncio.sleep(0)

        await asyncio.gather(*(one(name) for name in "abcdefgh"))
        assert order == list("abcdefgh")
        assert tree.running == 0

    asyncio.run(main())


def test_who_waits_too_long_is_told_so_and_leaves_the_line() -> None:
    async def main() -> None:
        tree = Tree(FanOut(concurrent=1))
        with tree.request():
            first, second = wait_turn(tree, wait_s=0.02), wait_turn(tree)
            assert not await first
        assert await second

    asyncio.run(main())


def test_who_left_does_not_hold_up_the_line() -> None:
    async def main() -> None:
        tree = Tree(FanOut(concurrent=1))
        with tree.request():
            gone = asyncio.create_task(tree.turn(wait_s=5, is_gone=lambda: True, look_s=0.01))
            behind = wait_turn(tree)
            assert not await gone
            cancelled = wait_turn(tree)
            await asyncio.sleep(0)
            cancelled.cancel()
        assert await behind

    asyncio.run(main())


def test_without_a_limit_nobody_waits() -> None:
    async def main() -> None:
        tree = Tree(FanOut())
        with tree.request(), tree.request():
            assert await tree.turn(wait_s=0, is_gone=lambda: True, look_s=0.01)

    asyncio.run(main())


# through a real gateway


def test_a_runs_agents_are_limited_at_its_door(rig: RigMaker, tmp_path: Path) -> None:
    """The refusal is final in the agent's own dialect, nothing is sent for it, and the main conversation goes on."""

    async def main() -> None:
        async with rig() as r, door(r, tmp_path, FanOut(agents=1, depth=1)) as ask:
            assert (await ask(agent="a"))[0] == 200
            status, said = await ask(agent="b")
            assert (status, said["error"]["type"]) == (402, "billing_error")
            assert said["error"]["message"].startswith("this run may have 1 agents")
            assert (await ask(agent="c", parent="a"))[0] == 402
            assert (await ask())[0] == 200
            seen = r.gateway.fan_out("r1")
            assert (seen.agents, seen.depth, seen.refused) == (1, 1, 2)
            assert len(r.simulator.meter.bills) == 2
            assert r.ledger.totals(Scope("run:r1")).refused == 0, "these were not refused for money"
            await r.settled()
            assert [entry.agent for entry in r.entries()] == ["a", ""]
            await r.gateway.close_run("r1")
            assert r.gateway.fan_out("r1") == Seen()

    asyncio.run(main())


def test_a_runs_requests_wait_for_each_other_and_hold_nothing_meanwhile(rig: RigMaker, tmp_path: Path) -> None:
    slow = script(Step(name="slow", say="Yes.", output_tokens=50, events=4, pace_ms=10))

    async def main() -> None:
        async with rig(slow) as r, door(r, tmp_path, FanOut(concurrent=2)) as ask:
            most = 0

            async def look() -> None:
                nonlocal most
                while True:
                    most = max(most, len(r.gateway.service.exchanges))
                    await asyncio.sleep(0.001)

            looking = asyncio.create_task(look())
            answers = await asyncio.gather(*(ask(stream=True) for _ in range(8)))
            looking.cancel()
            assert {status for status, _ in answers} == {200}
            assert most == 2

    asyncio.run(main())


def test_a_request_whose_turn_does_not_come_is_told_to_come_again(rig: RigMaker, tmp_path: Path) -> None:
    silent = script(Step(name="silent", say="Yes.", output_tokens=50, hang=2))

    async def main() -> None:
        async with rig(silent, wait_s=0.05, drain_s=0.1) as r, door(r, tmp_path, FanOut(concurrent=1)) as ask:
            first = asyncio.create_task(ask(stream=True))
            await r.until(lambda: bool(r.simulator.meter.bills))
            status, said = await ask()
            assert (status, said["error"]["type"]) == (429, "rate_limit_error")
            await r.gateway.stop()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(main())


def test_a_gateway_that_ends_answers_those_who_wait_for_a_turn(rig: RigMaker, tmp_path: Path) -> None:
    silent = script(Step(name="silent", say="Yes.", output_tokens=50, hang=2))

    async def main() -> None:
        async with rig(silent, drain_s=0.2) as r, door(r, tmp_path, FanOut(concurrent=1)) as ask:
            first = asyncio.create_task(ask(stream=True))
            await r.until(lambda: bool(r.simulator.meter.bills))
            second = asyncio.create_task(ask())
            await r.until(lambda: bool(r.gateway.service.metered.fan_outs._trees["r1"]._waiting))
            await r.gateway.stop()
            assert (await second)[0] == 503
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(main())


Asking = Callable[..., Coroutine[Any, Any, tuple[int, Any]]]


@asynccontextmanager
async def door(r: Rig, folder: Path, limits: FanOut) -> AsyncIterator[Asking]:
    """A run's door, and a way to ask through it as one of its agents."""
    key, path = r.new_key(run="r1"), folder / "gw.sock"
    await r.gateway.open_run("r1", key=key.row.id, path=path, mode="http", uid=None, fan_out=limits)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path), limit=0)) as http:

        async def ask(*, agent: str = "", parent: str = "", **body: Any) -> tuple[int, Any]:
            named = {"x-claude-code-agent-id": agent, "x-claude-code-parent-agent-id": parent}
            sent = {"x-api-key": key.secret, **{name: said for name, said in named.items() if said}}
            async with http.post("http://gateway/v1/messages", json=r.request(**body), headers=sent) as answer:
                whole = await answer.read()
                return answer.status, json.loads(whole) if whole.startswith(b"{") else whole

        yield ask


def test_what_was_seen_is_told_in_a_sentence() -> None:
    assert Seen().told() == ""
    assert Seen(agents=3, depth=2).told() == "3 beside the main conversation, nested 2 deep"
    assert Seen(agents=3, refused=1, words="too many").told() == "1 request was refused: too many"
