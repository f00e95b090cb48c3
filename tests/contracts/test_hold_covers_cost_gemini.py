"""THE PROPERTY, in the Gemini dialect: whatever the provider's law lets a legal request cost, the hold was that much.

The law is written here a second time, from the request as it was *built* and not from what the dialect read in its
bytes: a token is at least one byte of the body or of the pad, a picture is at most the card's maximum, a document or
sound is at most the context window, at the price of sound where there is one. Each candidate has the output limit,
and thinks beside it: up to its budget, or up to the largest output of the model where it decides by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import NOW, TEXT, TIMES, book, clamped, price_lists

from crewcap.core.asks import Ask
from crewcap.core.holding import hold_for, most_output
from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Usage
from crewcap.wire.gemini import Gemini

MODELS = ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3.8-flash")
WINDOW, LARGEST = 1_048_576, 65_536
KINDS = st.lists(st.sampled_from(["text", "image", "pdf", "sound", "call", "result", "thought"]), max_size=3)
THINKING: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"thinkingBudget": 0},
    {"thinkingBudget": 512},
    {"thinking_budget": 8_192},
    {"thinkingBudget": -1},
    {"thinkingLevel": "HIGH"},
)


@dataclass
class Built:
    """A request, and what the provider may make of it."""

    body: dict[str, Any]
    model: str = ""
    pad: int = 256  # what the provider may add by itself
    images: int = 0
    image_bytes: int = 0
    whole_window: bool = False
    has_sound: bool = False
    candidates: int = 1
    thoughts: int = 0  # most of one candidate
    limit: int = LARGEST

    @property
    def bytes(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def path(self) -> str:
        return f"/v1beta/models/{self.model}:streamGenerateContent"

    @property
    def most_output(self) -> int:
        return self.candidates * (self.limit + self.thoughts)

    def most_prompt(self, card: RateCard) -> int:
        if self.whole_window:
            return card.context_window or 0
        return len(self.bytes) - self.image_bytes + self.pad + self.images * card.image_tokens


@st.composite
def requests(draw: st.DrawFn) -> Built:
    built = Built(body={}, model=draw(st.sampled_from(MODELS)))
    if draw(st.booleans()):
        built.body[draw(st.sampled_from(["systemInstruction", "system_instruction"]))] = {
            "parts": [{"text": draw(TEXT)}]
        }
    built.body["contents"] = [
        {"role": role, "parts": [_part(draw, built, kind) for kind in draw(KINDS)]}
        for role in draw(st.lists(st.sampled_from(["user", "model"]), min_size=1, max_size=3))
    ]
    _tools(draw, built)
    _config(draw, built)
    if draw(st.booleans()):
        built.body["serviceTier"] = "priority"
    return built


def _part(draw: st.DrawFn, built: Built, kind: str) -> dict[str, Any]:
    match kind:
        case "image":
            return _image(draw, built)
        case "pdf" | "sound":
            built.whole_window = True
            built.has_sound |= kind == "sound"
            mime = "application/pdf" if kind == "pdf" else "audio/ogg"
            return {"inlineData": {"mimeType": mime, "data": "AAAA"}}
        case "call":
            return {"functionCall": {"name": "f", "args": {"maxOutputTokens": 7, "command": draw(TEXT)}}}
        case "result":
            images = [_image(draw, built) for _ in range(draw(st.integers(0, 2)))]
            return {"functionResponse": {"name": "f", "response": {"output": draw(TEXT)}, "parts": images}}
        case "thought":
            return {"text": draw(TEXT), "thought": True, "thoughtSignature": "c2ln"}
        case _:
            return {"text": draw(TEXT)}


def _image(draw: st.DrawFn, built: Built) -> dict[str, Any]:
    data = draw(st.sampled_from(["AAAA", "A" * 400]))
    built.images += 1
    built.image_bytes += len(data)
    return draw(
        st.sampled_from(
            [
                {"inlineData": {"mimeType": "image/png", "data": data}},
                {"inline_data": {"mime_type": "image/jpeg", "data": data}},
            ]
        )
    )


def _tools(draw: st.DrawFn, built: Built) -> None:
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {draw(TEXT): {"type": "string"}}}
        declared = [{"name": "f", "description": draw(TEXT), "parametersJsonSchema": schema}]
        built.body["tools"] = [{"functionDeclarations": declared}]
        built.pad += 1_024


def _config(draw: st.DrawFn, built: Built) -> None:
    config: dict[str, Any] = {}
    if draw(st.booleans()):
        built.limit = draw(st.integers(1, LARGEST))
        config[draw(st.sampled_from(["maxOutputTokens", "max_output_tokens"]))] = built.limit
    if draw(st.booleans()):
        built.candidates = draw(st.integers(1, 4))
        config["candidateCount"] = built.candidates
    thinking = draw(st.sampled_from(THINKING))
    if thinking is not None:
        config["thinkingConfig"] = thinking
    decides = thinking is None or not ("thinkingBudget" in thinking or "thinking_budget" in thinking)
    budget = next((value for name, value in (thinking or {}).items() if name != "thinkingLevel"), -1)
    can_think = built.model != "gemini-2.0-flash" or bool(thinking)
    built.thoughts = 0 if not can_think else LARGEST if decides or budget == -1 else budget
    if draw(st.booleans()):
        schema = {"type": "OBJECT", "title": draw(TEXT)}
        config[draw(st.sampled_from(["responseSchema", "response_json_schema"]))] = schema
        built.pad += len(json.dumps(schema, ensure_ascii=False).encode())
    has_config = draw(st.booleans())
    if config or has_config:
        built.body["generationConfig"] = config


@st.composite
def answers(draw: st.DrawFn, built: Built, card: RateCard) -> Usage:
    """A usage that the provider's law allows for this request: half of the time the dearest there is."""
    prompt, output = built.most_prompt(card), built.most_output
    if not draw(st.booleans()):
        prompt, output = draw(st.integers(0, prompt)), draw(st.integers(0, output))
    cached = draw(st.one_of(st.sampled_from([0, prompt]), st.integers(0, prompt)))
    usage = Usage(input=prompt - cached, cache_read=cached, output=output)
    if not built.has_sound:
        return usage
    heard = draw(st.one_of(st.just(usage.input), st.integers(0, usage.input)))
    return replace(usage, apart={"input_audio_token": heard, "cache_audio_read_token": cached})


@cache
def _cards(model: str) -> tuple[RateCard, ...]:
    """Every card that the model may meet, with the figures that decide sizes."""
    until = NOW + timedelta(days=60)  # a change of price lies between
    cards = book().reachable("google", model, start=NOW, end=until, modifiers=_ask_of(model).modifiers)
    return tuple(replace(card, context_window=WINDOW, max_output=LARGEST) for card in cards)


def _ask_of(model: str) -> Ask:
    return _ask(Built(body={"contents": []}, model=model))


def _ask(built: Built) -> Ask:
    ask = Gemini().ask(built.bytes, {}, allow=frozenset(), path=built.path)
    assert not ask.refusals
    return ask


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), data=st.data())
def test_no_legal_answer_costs_more_than_was_held(built: Built, data: st.DataObject) -> None:
    """For every legal request and every usage that the provider's law allows, hold >= cost."""
    ask, cards = _ask(built), _cards(built.model)
    held = hold_for(ask, cards, built.limit)
    card = data.draw(st.sampled_from(cards))
    usage = data.draw(answers(built, card))
    assert usage.output <= most_output(ask, card, built.limit)
    assert card.cost(usage) <= held


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), room=st.integers(0, 6_000_000_000), data=st.data())
def test_a_clamped_request_costs_no_more_than_the_room_that_it_was_clamped_to(
    built: Built, room: int, data: st.DataObject
) -> None:
    """A lowered output limit makes the hold fit, and the answer with it; it is never lowered below what is useful."""
    ask, cards = _ask(built), _cards(built.model)
    limit = clamped(ask, cards, Money(room), asked=built.limit)
    if limit is None:
        return
    built.limit = limit
    card = data.draw(st.sampled_from(cards))
    assert card.cost(data.draw(answers(built, card))) <= Money(room)


@settings(max_examples=100 * TIMES, deadline=None)
@given(built=requests(), limit=st.integers(1, LARGEST))
def test_the_forwarded_bytes_ask_for_what_was_held(built: Built, limit: int) -> None:
    """The limit that the provider reads is the one that was held, wherever the client had put its own."""
    body = Gemini().rewrite(built.bytes, max_output=limit)
    forwarded = Gemini().ask(body, {}, allow=frozenset(), path=built.path)
    asked = _ask(built)
    assert forwarded.max_output == limit
    assert (forwarded.answers, forwarded.beside_output) == (asked.answers, asked.beside_output)
    assert "priority" not in json.dumps({**json.loads(body), "contents": [], "tools": []})


SOUND = st.fixed_dictionaries(
    {}, optional={"input_audio_token": st.integers(0, 9_000_000), "cache_audio_read_token": st.integers(0, 9_000_000)}
)


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), sound=SOUND, data=st.data())
def test_the_hold_covers_the_cost_on_any_price_list(built: Built, sound: dict[str, int], data: st.DataObject) -> None:
    """No order among prices is assumed: a read may be dearer than fresh input, sound cheaper than text."""
    card = data.draw(price_lists(sound, max_output=LARGEST))
    held = hold_for(_ask(built), [card], built.limit)
    assert card.cost(data.draw(answers(built, card))) <= held


@pytest.mark.parametrize("model", MODELS)
def test_what_comes_from_the_cache_is_never_dearer_than_what_does_not(model: str) -> None:
    """Only the last word tells what came from it, so until then a prompt counts as fresh."""
    for card in _cards(model):
        for each in (card.rates, *(tier.rates for tier in card.tiers)):
            assert each.cache_read <= each.input
