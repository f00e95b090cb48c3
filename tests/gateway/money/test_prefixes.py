"""Prefix memory: what may be remembered, of whom, and how a turn near the cap is served by it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.conftest import says, script
from tests.gateway.ended import KEY, MODEL, ended, request, rules

from crewcap.core.budget import KeyId
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.gateway.money.prefixes import Prefixes

if TYPE_CHECKING:
    from tests.gateway.conftest import RigMaker

STORY = "a long story, told slowly; " * 1_000
USAGE = Usage(input=6_000, output=200)


def body(*more: str, **fields: Any) -> dict[str, Any]:
    """A conversation of so many turns."""
    turns = [{"role": role, "content": text} for role, text in zip(("assistant", "user") * 9, more, strict=False)]
    return {"model": MODEL, "max_tokens": 1_000, "messages": [{"role": "user", "content": STORY}, *turns], **fields}


def new(*more: str) -> int:
    """Bytes of so many turns, with a comma each."""
    return sum(len(json.dumps(turn)) + 1 for turn in body(*more)["messages"][1:])


def tokens(prefixes: Prefixes, asked: dict[str, Any], **changes: Any) -> int | None:
    """The bound by what is remembered."""
    found = asyncio.run(prefixes.recall(request(asked, **changes)))
    return found.tokens if found else None


def test_a_request_that_goes_on_is_bounded_by_what_was_settled() -> None:
    """Its prompt, its answer, the bytes of what is new, and the pad."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body()), USAGE))
    assert tokens(prefixes, body("well", "go on")) == 6_200 + 256 + new("well", "go on")
    assert tokens(prefixes, body()) == 6_200 + 256


def test_the_closest_of_two_branches_counts() -> None:
    """An agent may go back one turn and on from there."""
    prefixes = Prefixes()
    for asked, prompt in ((body(), 6_000), (body("well", "go on"), 6_020)):
        prefixes.ended(ended(request(asked), Usage(input=prompt, output=10)))
    assert tokens(prefixes, body("well", "go on", "x" * 100, "and")) == 6_286 + new("", "", "x" * 100, "and") - new(
        "", ""
    )
    assert tokens(prefixes, body("no", "stop")) == 6_010 + 256 + new("no", "stop")


@pytest.mark.parametrize(
    "told",
    [
        {"is_edited": True},
        {"is_complete": False},
        {"doubt": "it says two things"},
        {"usage_is_whole": False},
        {"model": "claude-haiku-4-5"},
        {"samplings": ((MODEL, USAGE), (MODEL, USAGE))},
    ],
)
def test_only_a_whole_answer_with_a_true_bill_is_remembered(told: dict[str, Any]) -> None:
    """Edits take something away that may come back; a doubtful bill bounds nothing."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body()), USAGE, **told))
    assert tokens(prefixes, body("well")) is None


def test_nothing_is_recalled_for_a_request_that_runs_the_model_more_than_once() -> None:
    """Both rest on one run alone."""
    search = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]
    prefixes = Prefixes()
    prefixes.ended(ended(request(body(tools=search)), USAGE))
    assert tokens(prefixes, body("well", tools=search)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"key": replace(KEY, id=KeyId("other"), run="run-2")},
        {"key": replace(KEY, id=KeyId("other"), run="")},
        {"model": "claude-haiku-4-5"},
        {"agent": "sub-1"},
    ],
)
def test_what_one_run_settled_tells_another_nothing(other: dict[str, Any]) -> None:
    """Not even that somebody said the same before."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body()), USAGE))
    assert tokens(prefixes, body("well"), **other) is None
    assert tokens(prefixes, body("well"), key=replace(KEY, id=KeyId("next-start"))) is not None  # the same run


def test_a_usage_above_its_bound_ends_the_memory_of_that_model() -> None:
    """Until a restart: one of the assumptions does not hold for it. Other models are none the worse."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body()), USAGE))
    haiku = body(model="claude-haiku-4-5")
    prefixes.ended(ended(request(haiku), USAGE))
    prefixes.ended(ended(request(body("well"), prompt_tokens=6_300), Usage(input=6_301, output=1)))
    assert tokens(prefixes, body("well")) is None
    prefixes.ended(ended(request(body()), USAGE))
    assert tokens(prefixes, body("well")) is None
    assert tokens(prefixes, {**haiku, "messages": body("well")["messages"]}) is not None


def test_the_memory_is_bounded_and_no_run_takes_all_of_it() -> None:
    """The oldest go first; one run's first where it has more than its share."""
    prefixes = Prefixes(kept_bytes=8 * len(STORY))
    calm = replace(KEY, id=KeyId("calm"), run="run-calm")
    prefixes.ended(ended(request(body(), key=calm), USAGE))
    for number in range(20):
        prefixes.ended(ended(request(body(system=f"{number}"), agent=f"{number}"), USAGE))
    assert tokens(prefixes, body("well"), key=calm) is not None
    assert [n for n in range(20) if tokens(prefixes, body("well", system=f"{n}"), agent=f"{n}")] == [19]
    for number in range(20):
        key = replace(KEY, id=KeyId(f"{number}"), run=f"run-{number}")
        prefixes.ended(ended(request(body(), key=key), USAGE))
    assert tokens(prefixes, body("well"), key=calm) is None


def test_a_count_is_not_asked_for_where_it_could_say_no_less() -> None:
    """What was settled is nearly all of the prompt, and a count is an estimate with a pad of its own."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body()), Usage(input=20_000, output=10)))
    near, far = request(body("well")), request(body("x" * 5_000))
    for asked, is_enough in ((near, True), (far, False)):
        found = asyncio.run(rules(prefixes).recalled(asked))
        assert found is not None
        assert found[1] is is_enough


def test_a_name_that_may_mean_several_models_is_bounded_by_its_bytes() -> None:
    """Another model cuts the same text into other tokens."""
    prefixes = Prefixes()
    prefixes.ended(ended(request(body(model="sonnet"), model="claude-sonnet-5-5"), USAGE, model="claude-sonnet-5-5"))
    asked = request(body("well", model="sonnet"), model="claude-sonnet-5-5")
    assert rules(prefixes).want(asked).refine is None
    prefixes.ended(ended(request(body()), USAGE))
    assert rules(prefixes).want(request(body("well"))).refine is not None


def test_a_turn_that_does_not_fit_by_its_bytes_is_served_by_what_was_settled(rig: RigMaker) -> None:
    """No count call; the ledger's note says what bound it."""

    async def main() -> None:
        async with rig(script(says(100)), cap="0.08") as r:
            asked = r.request(STORY, stream=True)
            assert (await r.post(asked))[0] == 200
            counted = sum("count_tokens" in record.path for record in r.simulator.log.records)
            asked["messages"] += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "and then?"}]
            assert (await r.post(asked))[0] == 200
            await r.settled()
            notes = [entry.notes for entry in r.entries()]
            assert notes[-1][-1].startswith("bound by prefix memory: ")
            assert sum("count_tokens" in record.path for record in r.simulator.log.records) == counted
            assert r.charged() == r.simulator.meter.total() <= Money.usd("0.08")

    asyncio.run(main())
