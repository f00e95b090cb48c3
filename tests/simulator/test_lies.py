"""Each lie breaks one law of the providers, and the meter bills what the lie says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.errors import UsageError
from crewcap.prices import load
from crewcap.simulator.lies import LIES
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import Simulator

from .conftest import Client, Said, asking

Play = Callable[..., tuple[Simulator, Client]]
SCRIPT = parse("[[step]]\nname = 'a'\nsay = 'hello'\noutput_tokens = 900", name="short")
LIMIT = 1_000


@pytest.fixture
def told(play: Play) -> Callable[[str], tuple[Said, Simulator]]:
    """Ask a liar, and return its answer."""

    def ask(lie: str) -> tuple[Said, Simulator]:
        simulator, client = play(SCRIPT, lie=lie)
        return client.ask(asking("hello", max_tokens=LIMIT, stream=True)), simulator

    return ask


Told = Callable[[str], tuple[Said, Simulator]]


def first(said: Said) -> Any:
    return said.data[0]["message"]


def billed(simulator: Simulator) -> Usage:
    return simulator.meter.bills[-1].usage


def test_an_honest_answer_breaks_nothing(told: Told) -> None:
    said, simulator = told("")
    assert said.usage["output_tokens"] == 900
    assert first(said)["usage"]["input_tokens"] < 300
    assert (said.usage["service_tier"], said.usage["inference_geo"]) == ("standard", "global")
    assert "speed" not in said.usage
    assert simulator.log.messages()[0].billed == simulator.meter.total() > Money(0)


def test_input_above_every_bound(told: Told) -> None:
    """More tokens than bytes and pads together, in both events, and billed."""
    said, simulator = told("usage-above-bound")
    size = simulator.log.messages()[0].size_bytes
    assert first(said)["usage"]["input_tokens"] > size + 256 + 1_024
    assert said.usage["input_tokens"] == billed(simulator).input > size + 256 + 1_024


def test_output_above_the_limit(told: Told) -> None:
    said, simulator = told("output-above-limit")
    assert said.usage["output_tokens"] == billed(simulator).output > LIMIT


def test_an_answer_by_a_dearer_model(told: Told) -> None:
    said, simulator = told("dearer-model")
    cards = {name: load().card("anthropic", name, at=datetime.now(UTC)) for name in (first(said)["model"],)}
    assert first(said)["model"] != "claude-sonnet-5"
    assert simulator.meter.total() == cards[first(said)["model"]].cost(billed(simulator))


def test_an_answer_by_a_model_without_a_price(told: Told) -> None:
    """The provider bills it as the model that was asked."""
    said, simulator = told("unknown-model")
    card = load().card("anthropic", "claude-sonnet-5", at=datetime.now(UTC))
    assert first(said)["model"] == "a-model-without-a-price"
    assert simulator.meter.total() == card.cost(billed(simulator))


def test_a_count_that_no_machine_could_have_made(told: Told) -> None:
    """Below zero, or a million million; the truth is billed."""
    for lie, output in (("usage-negative", -900), ("usage-huge", 10**12)):
        said, simulator = told(lie)
        assert said.usage["output_tokens"] == output
        assert billed(simulator).output == 900


@pytest.mark.parametrize(
    ("lie", "field", "value"),
    [
        ("dearer-geo", "inference_geo", "us"),
        ("dearer-tier", "service_tier", "priority"),
        ("dearer-speed", "speed", "fast"),
    ],
)
def test_a_dearer_way_of_answering(told: Told, lie: str, field: str, value: str) -> None:
    """It is in both events, for a gateway may look at either."""
    said, _ = told(lie)
    assert said.usage[field] == first(said)["usage"][field] == value


def test_a_dearer_region_is_billed_at_its_price(told: Told) -> None:
    _, simulator = told("dearer-geo")
    card = load().card("anthropic", "claude-sonnet-5", at=datetime.now(UTC), modifiers=Modifiers(geo="us"))
    assert simulator.meter.total() == card.cost(billed(simulator))


def test_no_usage_at_all(told: Told) -> None:
    """The truth is billed all the same."""
    said, simulator = told("no-usage")
    assert not [event for event in said.data if "usage" in event or "usage" in event.get("message", {})]
    assert billed(simulator).output == 900


def test_usage_that_goes_down(told: Told) -> None:
    said, simulator = told("usage-going-down")
    assert said.usage["input_tokens"] < first(said)["usage"]["input_tokens"]
    assert said.usage["output_tokens"] < billed(simulator).output == 900


def test_a_lie_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a lie") as caught:
        Simulator(SCRIPT, lie="flattery")
    assert caught.value.help.startswith("it knows usage-above-bound")
    assert len(LIES) == 11
