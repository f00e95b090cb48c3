"""A usage that was kept gives the reading that it gave when it came."""

from __future__ import annotations

import json

import pytest

from crewcap.core.pricing import Usage
from crewcap.wire.again import reread

MESSAGES = {
    "input_tokens": 3,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 7,
    "output_tokens": 2,
    "speed": "fast",
}
RESPONSES = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}
CHAT = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 3}
GEMINI = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 1}


@pytest.mark.parametrize(("dialect", "raw"), [("openai", RESPONSES), ("openai", CHAT), ("gemini", GEMINI)])
def test_each_dialect_is_read_by_its_own_meter(dialect: str, raw: object) -> None:
    booked = Usage(input=6, cache_read=4, output=3)
    reading = reread(dialect, json.dumps(raw), model="m", booked=booked)
    assert reading is not None
    assert reading.usage is not None
    assert (reading.usage.input, reading.usage.cache_read, reading.usage.output) == (6, 4, 3)


@pytest.mark.parametrize("kind", ["write_5m", "write_1h"])
def test_a_write_of_untold_lifetime_is_what_was_booked(kind: str) -> None:
    booked = Usage(input=3, cache_read=5, output=2, **{kind: 7})  # type: ignore[arg-type]  # by name
    reading = reread("anthropic", json.dumps(MESSAGES), model="claude-opus-4-8", booked=booked)
    assert reading is not None
    assert reading.usage == booked
    assert reading.modifiers.speed == "fast"


def test_several_samplings_come_back_each_with_its_model() -> None:
    raw = {
        **MESSAGES,
        "iterations": [{"type": "advisor", "model": "claude-opus-4-8", "input_tokens": 9, "output_tokens": 1}],
    }
    reading = reread("anthropic", json.dumps(raw), model="claude-sonnet-5", booked=Usage(input=3))
    assert reading is not None
    assert [model for model, _ in reading.samplings] == ["claude-opus-4-8", "claude-sonnet-5"]


@pytest.mark.parametrize("raw", ["", "{", "[]", '"x"', "null", "{}" * 2, '{"input_tokens": 3, "outp'])
def test_words_that_were_cut_or_are_none_give_nothing(raw: str) -> None:
    assert reread("anthropic", raw, model="m", booked=Usage()) is None


def test_a_dialect_that_nobody_speaks_gives_nothing() -> None:
    assert reread("telegraph", json.dumps(MESSAGES), model="m", booked=Usage()) is None
