"""THE PROPERTY of every end: whatever came of an answer before it broke off, what is booked covers the bill.

No socket and no ledger: the bytes of an answer, cut after each of them, go through the dialect's own meter and the
table of known ends. What the provider could bill for it is told here a second time, in dollars: what it did bill for
the whole of it, or the prompt and all the output that the request allows, where nobody can say how much was written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import NOW, TIMES, book
from tests.contracts.recorded_streams import ANTHROPIC, CHAT, GEMINI, GEMINI_LIST, RESPONSES, Stream

from crewcap.core import holding
from crewcap.core.asks import Ask
from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO
from crewcap.core.pricing import Usage
from crewcap.gateway.money.ends import End, Sent, end_of_stream, settlement
from crewcap.stores import Settlement
from crewcap.wire import ENDPOINTS, Dialect

STREAMS = (ANTHROPIC, RESPONSES, CHAT, GEMINI, GEMINI_LIST)
by_stream = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)


def _held_for(dialect: Dialect, ask: Ask, listed: str) -> Sent:
    """A request as it is held for."""
    assert ask.max_output is not None
    assert not ask.refusals
    end = NOW + timedelta(minutes=20)
    modifiers = [each for each in ask.modifiers if each.geo == "global"] if ask.geo_is_assumed else ask.modifiers
    cards = book().reachable(listed, ask.model, start=NOW, end=end, modifiers=modifiers)
    return Sent(
        hold=HoldId("hold-1"),
        held=holding.hold_for(ask, cards, ask.max_output),
        dialect=dialect.name,
        prices=listed,
        model=ask.model,
        cards=cards,
        prompt_bound=max(holding.prompt_bound(ask.bound, card) or 0 for card in cards),
        output_limit=max(holding.most_output(ask, card, ask.max_output) for card in cards),
        write=ask.write,
        samplings=ask.samplings,
        sent_at=NOW,
    )


def _ended(dialect: Dialect, ask: Ask, sent: Sent, got: bytes, *, is_broken: bool) -> tuple[End, Settlement]:
    """How an answer of which these bytes came is booked."""
    meter = dialect.meter(stream=ask.stream, write=ask.write, answers=ask.answers)
    meter.feed(got)
    reading = meter.close()
    if ask.stream:
        end = end_of_stream(sent.dialect, reading, is_broken=is_broken)
    else:
        end = "complete" if reading.is_complete and not is_broken else "no_answer"
    return end, settlement(sent, end, reading, book=book(), at=NOW, status=200)


@cache
def _asked(stream: Stream) -> tuple[Dialect, Ask, Sent]:
    """The request of a stream, from the bytes that the client sent."""
    dialect = stream.dialect()
    ask = dialect.ask(stream.asked, stream.headers, allow=frozenset(), path=stream.path)
    return dialect, ask, _held_for(dialect, ask, stream.prices)


def _booked(stream: Stream, got: bytes, *, is_broken: bool) -> tuple[End, Settlement]:
    """How a stream of which these bytes came is booked."""
    return _ended(*_asked(stream), got, is_broken=is_broken)


@by_stream
def test_a_whole_answer_is_booked_at_its_bill_to_the_nano(stream: Stream) -> None:
    end, booked = _booked(stream, stream.body, is_broken=False)
    assert (end, booked.kind, booked.spent, booked.uncertain) == ("complete", "settled", stream.billed, ZERO)
    assert booked.incident == ""


@cache
def _cuts(stream: Stream) -> tuple[tuple[End, Settlement], ...]:
    """How the answer is booked where its connection breaks off after so many bytes, for each number of them."""
    return tuple(_booked(stream, stream.body[:size], is_broken=True) for size in range(len(stream.body)))


@by_stream
def test_an_answer_cut_after_any_byte_is_booked_at_its_bill_or_above_and_never_above_its_hold(stream: Stream) -> None:
    """The bill of a cut answer is unknown: as much as was held for may have been written, and not a nano more."""
    held = _asked(stream)[2].held
    assert stream.billed < stream.most <= held
    for size, (end, booked) in enumerate(_cuts(stream)):
        charged = booked.spent + booked.uncertain
        assert booked.incident == "", size
        if end == "complete":
            assert (booked.kind, charged) == ("settled", stream.billed), size
            assert size >= len(stream.body) - stream.tail, "it is whole only with its end mark"
        else:
            assert booked.kind == "uncertain"
            assert stream.most <= charged <= held, size


@by_stream
def test_more_bytes_never_raise_what_is_charged(stream: Stream) -> None:
    """An early release may come with any byte; it is never taken back."""
    charged = [booked.spent + booked.uncertain for _, booked in _cuts(stream)]
    assert charged == sorted(charged, reverse=True)


@by_stream
@pytest.mark.parametrize("lie", [b"-1", b"1e12", b"1.5", b'"7"', b"1" + b"0" * 21, b"true", b"[]", b"NaN"])
def test_a_usage_that_lies_proves_nothing(stream: Stream, lie: bytes) -> None:
    """Negative, broken, beyond reason or no number at all: the hold stays charged, and somebody has to look."""
    held = _asked(stream)[2].held
    for figure in stream.figures:
        assert figure in stream.body
        _, booked = _booked(stream, _with(stream, figure, lie), is_broken=False)
        assert booked.spent + booked.uncertain >= held, figure
        assert booked.incident, figure


@by_stream
def test_a_usage_that_is_not_told_is_not_taken_for_nothing(stream: Stream) -> None:
    """Neither the prompt nor the output is free because nobody said how large it was."""
    for figure in (stream.figures[0], stream.figures[-1]):
        _, booked = _booked(stream, _with(stream, figure, b"null"), is_broken=False)
        assert booked.spent + booked.uncertain >= stream.billed, figure


def _with(stream: Stream, figure: bytes, value: bytes) -> bytes:
    """The answer with another value in a figure's place, wherever it stands."""
    return stream.body.replace(figure, figure.partition(b":")[0] + b":" + value)


# --- whatever real agents send


RECORDED = sorted((Path(__file__).parents[1] / "wire" / "recorded").rglob("*.json"))
LISTS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
LIMIT = 4_000


@dataclass(frozen=True)
class Traffic:
    """A recorded request, as the gateway sends it on."""

    dialect: Dialect
    ask: Ask
    sent: Sent


@cache
def _traffic() -> tuple[Traffic, ...]:
    """Every recorded request that a capped key may send."""
    return tuple(found for path in RECORDED if (found := _read(path)) is not None)


def _read(path: Path) -> Traffic | None:
    recorded = json.loads(path.read_bytes())
    family = path.parent.name if path.parent.name in ENDPOINTS else "anthropic"
    target = recorded.get("path", "/v1/messages")
    speak = ENDPOINTS[family].get(re.sub(r"models/[^:]+:", "models/{model}:", target))
    if speak is None:
        return None
    dialect, headers = speak(), {"anthropic-beta": ",".join(recorded.get("betas", ()))}
    body = dialect.rewrite(json.dumps(recorded["body"]).encode(), max_output=LIMIT)
    ask = dialect.ask(body, headers, allow=frozenset(), path=target)
    if ask.refusals or ask.samplings > 1:
        return None
    return Traffic(dialect, ask, _held_for(dialect, ask, LISTS[family]))


@st.composite
def usages(draw: st.DrawFn, traffic: Traffic) -> Usage:
    """What the provider's law allows for a request."""
    prompt = draw(st.integers(0, traffic.sent.prompt_bound))
    read = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - read)) if traffic.ask.write != "none" else 0
    output = draw(st.integers(0, traffic.sent.output_limit))
    is_long = traffic.ask.write == "1h" and draw(st.booleans())
    return Usage(
        input=prompt - read - written,
        cache_read=read,
        write_5m=0 if is_long else written,
        write_1h=written if is_long else 0,
        output=output,
    )


def _answer(traffic: Traffic, usage: Usage) -> bytes:
    """An answer with this usage in the provider's own words."""
    ask, model = traffic.ask, traffic.ask.model
    match traffic.dialect.name:
        case "anthropic":
            return _anthropic(model, usage)
        case "gemini":
            told = {
                "promptTokenCount": usage.prompt,
                "cachedContentTokenCount": usage.cache_read,
                "candidatesTokenCount": usage.output,
                "totalTokenCount": usage.prompt + usage.output,
            }
            part = {"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": told, "modelVersion": model}
            return b"data: " + json.dumps(part).encode() + b"\r\n\r\n" if ask.stream else json.dumps(part).encode()
        case _:
            return _openai(traffic, usage)


def _anthropic(model: str, usage: Usage) -> bytes:
    told: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.write_5m, "ephemeral_1h_input_tokens": usage.write_1h},
    }
    events = (
        {"type": "message_start", "message": {"model": model, "usage": {**told, "output_tokens": 0}}},
        {"type": "message_delta", "delta": {}, "usage": {**told, "output_tokens": usage.output}},
        {"type": "message_stop"},
    )
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def _openai(traffic: Traffic, usage: Usage) -> bytes:
    is_chat = "max_completion_tokens" in json.loads(traffic.dialect.rewrite(b"{}", max_output=1))
    words = ("prompt", "completion") if is_chat else ("input", "output")
    told = {
        f"{words[0]}_tokens": usage.prompt,
        f"{words[0]}_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.write_5m},
        f"{words[1]}_tokens": usage.output,
    }
    whole = {"model": traffic.ask.model, "service_tier": "default", "usage": told, "choices": [], "status": "completed"}
    if not traffic.ask.stream:
        return json.dumps(whole).encode()
    event = whole if is_chat else {"type": "response.completed", "response": whole}
    return b"data: " + json.dumps(event).encode() + b"\n\n" + (b"data: [DONE]\n\n" if is_chat else b"")


@settings(max_examples=120 * TIMES, deadline=None)
@given(data=st.data())
def test_of_what_agents_send_every_answer_is_booked_at_its_bill_and_every_cut_one_at_no_less(
    data: st.DataObject,
) -> None:
    """Recorded requests of Claude Code, Codex, opencode, Qwen Code and Gemini CLI; any usage that the law allows."""
    traffic = data.draw(st.sampled_from(_traffic()))
    sent = traffic.sent
    usage = data.draw(usages(traffic))
    card = book().card(sent.prices, sent.model, at=NOW)
    bill, answer = card.cost(usage), _answer(traffic, usage)
    end, booked = _ended(traffic.dialect, traffic.ask, sent, answer, is_broken=False)
    assert (end, booked.spent, booked.uncertain, booked.incident) == ("complete", bill, ZERO, "")
    size = data.draw(st.integers(0, len(answer) - 1))
    end, booked = _ended(traffic.dialect, traffic.ask, sent, answer[:size], is_broken=True)
    assert bill <= booked.spent + booked.uncertain <= sent.held
    assert booked.incident == ""


def test_agents_of_every_dialect_are_on_trial() -> None:
    found = {(each.dialect.name, each.ask.stream) for each in _traffic()}
    assert {("anthropic", True), ("openai", True), ("gemini", True), ("gemini", False)} <= found
    assert len(_traffic()) >= 20
