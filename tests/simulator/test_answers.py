"""Answers keep to the output limit, say their usage twice, and cost what the script asks for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Usage
from crewcap.prices import load
from crewcap.simulator.answers import Answer, compose
from crewcap.simulator.anthropic import events, message, read
from crewcap.simulator.meter import price
from crewcap.simulator.script import Pick, Script, Step, Use

PROMPT = Usage(input=8, cache_read=5_000, write_5m=700)
CARD = load().card("anthropic", "claude-sonnet-5", at=datetime(2026, 11, 22, tzinfo=UTC))
CALL = Use(tool="Bash", input={"command": "ls {{cwd}}/{{n}}"}, times=2)


def answer(step: Step, *, max_tokens: int = 64_000, card: RateCard = CARD, **more: Any) -> Answer:
    messages = [{"role": "user", "content": "Working directory: /w\ngo"}]
    body = {"model": card.model, "max_tokens": max_tokens, "messages": messages, **more}
    asked = read(json.dumps(body).encode(), {})
    return compose(Pick(step=step), Script(name="s", steps=(step,)), asked, prompt=PROMPT, card=card, number=1)


def test_calls_are_made_as_often_as_asked_with_their_words_filled_in() -> None:
    calls = [block for block in message(answer(Step(name="a", say="hi", use=(CALL,))))["content"] if "input" in block]
    assert [call["input"]["command"] for call in calls] == ["ls /w/1", "ls /w/2"]
    assert len({call["id"] for call in calls}) == 2


def test_a_cost_sizes_the_answer_so_that_the_whole_turn_reaches_it() -> None:
    """To the token: one token less would cost less than asked."""
    usage = answer(Step(name="a", say="hi", cost=Money.usd("0.50"))).usage
    assert Money.usd("0.50") <= price(CARD, usage) < Money.usd("0.50") + Money.from_pico(CARD.rates.output)


def test_an_answer_is_clamped_by_the_limit_and_then_makes_no_call() -> None:
    """What the script asks for is the unclamped cost; a limit makes it cheaper, never larger."""
    step = Step(name="a", say="hi", use=(CALL,), cost=Money.usd("0.50"))
    whole, cut = answer(step), answer(step, max_tokens=1_024)
    assert (whole.stop_reason, cut.stop_reason) == ("tool_use", "max_tokens")
    assert cut.usage.output == 1_024
    assert not [piece for piece in cut.pieces if piece.kind == "tool_use"]


@pytest.mark.parametrize(("thinking", "kind"), [({"type": "adaptive"}, "thinking"), ({"type": "disabled"}, "text")])
def test_what_a_step_has_no_words_for_is_thought_or_said(thinking: dict[str, str], kind: str) -> None:
    made = answer(Step(name="a", output_tokens=500), thinking=thinking)
    assert [(piece.kind, piece.tokens) for piece in made.pieces] == [(kind, 500)]
    assert made.usage.thinking == (500 if kind == "thinking" else 0)


@pytest.mark.parametrize("end", ["refusal", "pause_turn", "model_context_window_exceeded"])
def test_a_step_may_end_for_any_reason(end: str) -> None:
    assert answer(Step(name="a", say="no", end=end)).stop_reason == end


def test_an_agent_of_another_version_is_called_by_its_own_tool_names() -> None:
    made = answer(Step(name="a", use=(Use(tool="Agent", input={}),)), tools=[{"name": "Task"}])
    assert made.pieces[0].name == "Task"


def test_a_call_that_is_sent_back_counts_no_more_than_it_cost() -> None:
    """So that settled output plus the new tail bounds the next prompt."""
    made = answer(Step(name="a", say="hi", use=(CALL,)))
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": message(made)["content"]}]}
    sent_back = sum(block.tokens for block in read(json.dumps(body).encode(), {}).blocks)
    assert sent_back <= made.usage.output + 3


steps = st.builds(
    Step,
    name=st.just("a"),
    say=st.text(max_size=40),
    use=st.lists(st.just(CALL), max_size=2).map(tuple),
    output_tokens=st.integers(0, 3_000),
    events=st.integers(1, 9),
)


@settings(max_examples=80, deadline=None)
@given(step=steps, limit=st.integers(1, 3_000), thinks=st.booleans())
def test_output_never_exceeds_the_limit_and_streams_as_it_is_billed(step: Step, limit: int, *, thinks: bool) -> None:
    """The providers' law on output, and: a stream and a message of the same answer say the same."""
    made = answer(step, max_tokens=limit, thinking={"type": "adaptive" if thinks else "disabled"})
    assert made.usage.output <= limit
    sent = list(events(made, step))
    kinds = [event["type"] for event, _ in sent]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("message_start", "message_delta", "message_stop")
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(made.pieces)
    generated = [tokens for _, tokens in sent]
    assert generated == sorted(generated)
    assert generated[-1] == made.usage.output
    assert sent[-2][0]["usage"] == message(made)["usage"]
    assert sent[-2][0]["delta"]["stop_reason"] == made.stop_reason


def test_the_full_split_of_the_input_is_in_the_first_event() -> None:
    """The gateway may shrink its hold as soon as it has seen it."""
    first = next(iter(events(answer(Step(name="a", say="hi")), Step(name="a"))))[0]["message"]["usage"]
    assert (first["input_tokens"], first["cache_read_input_tokens"]) == (8, 5_000)
    assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 700, "ephemeral_1h_input_tokens": 0}
    assert first["output_tokens"] == 1
