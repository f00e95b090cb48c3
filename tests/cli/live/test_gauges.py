"""What a live view shows of a run beside its moments, read from real books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.cli.run_home import MODEL, RunHome, driven

from crewcap.cli.context import Call, make_call
from crewcap.cli.live.gauges import GaugeReader, expected
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.runs import RunState, Verdict


@pytest.fixture
def call(home: RunHome) -> Iterator[Call]:
    made = make_call({"home": str(home.home.root), "config": str(home.config)})
    yield made
    made.close()


def test_the_cache_is_that_of_all_requests_and_the_context_that_of_the_last(home: RunHome, call: Call) -> None:
    run = home.add("fix-login", RunState.RUNNING, **driven())
    reader = GaugeReader(call, run)
    assert (reader.read().prompts, reader.read().context) == (0, 0)
    home.spend(run, "0.10", usage=Usage(input=1_000, write_5m=9_000, output=500))
    home.spend(run, "0.02", usage=Usage(input=100, cache_read=10_400, write_5m=500, output=700))
    gauges = reader.read()
    assert (gauges.cached, gauges.prompts) == (10_400, 21_000)
    assert gauges.context == 11_700
    assert gauges.window == call.app.book.card("anthropic", MODEL, at=call.clock()).context_window
    assert gauges.window


def test_the_state_is_the_stored_one(home: RunHome, call: Call) -> None:
    run = home.add("fix-login", RunState.RUNNING, **driven())
    reader = GaugeReader(call, run)
    assert reader.read().state == RunState.RUNNING
    home.runs.save(replace(run, state=RunState.FINISHING))
    assert reader.read().state == RunState.FINISHING


def test_requests_of_another_model_are_not_the_conversation(home: RunHome, call: Call) -> None:
    """Agents let a small model name what they do; its prompts say nothing of the context."""
    run = home.add("fix-login", RunState.RUNNING, model="claude-opus-4-8", **driven())
    home.spend(run, "0.10")
    assert GaugeReader(call, run).read().context == 0


def test_what_is_expected_is_what_runs_like_it_cost(home: RunHome, call: Call) -> None:
    for number in range(1, 11):
        home.spend(home.add(f"old-{number}", verdict=Verdict.FINISHED), f"0.{number:02}")
    home.add("free")
    run = home.add("fix-login", RunState.RUNNING, **driven())
    found = expected(call, run)
    assert found is not None
    assert (found.p10, found.p50, found.p90) == (Money.usd("0.01"), Money.usd("0.05"), Money.usd("0.09"))
    assert found.jobs == 10


def test_nothing_is_expected_of_too_few(home: RunHome, call: Call) -> None:
    for number in range(9):
        home.spend(home.add(f"old-{number}"), "0.10")
    assert expected(call, home.add("fix-login", RunState.RUNNING, **driven())) is None
