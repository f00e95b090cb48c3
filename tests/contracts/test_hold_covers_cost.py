"""THE PROPERTY: whatever a legal request asks for and the provider's law lets it cost, the hold was at least that.

The law is written here a second time, from the request as it was *built* and not from what the dialect read in its
bytes: a token is at least one byte of the body or of the pad, an image is at most 4,800 tokens, what the body does
not hold is at most the context window, the output limit is strict, and caches are written only where marked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import NOW, TEXT, TIMES, book, clamped, price_lists

from crewcap.core.asks import Ask
from crewcap.core.holding import hold_for
from crewcap.core.money import Money, total
from crewcap.core.pricing import Modifiers, RateCard, Usage
from crewcap.wire.anthropic import Anthropic

MODELS = ("claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-5", "claude-opus-5-5")
LONG = "context-1m-2025-08-07"
ROLES = st.lists(st.sampled_from(["user", "assistant", "system"]), min_size=1, max_size=3)
TTLS = st.sampled_from([None, None, "plain", "5m", "1h"])
TEXT_KINDS = st.lists(st.just("text"), max_size=2)
KINDS = st.lists(st.sampled_from(["text", "image", "pdf", "paper", "use", "result", "thinking"]), max_size=3)
WHOLE_SOURCES = (
    {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
    {"type": "url", "url": "https://example.org/a.pdf"},
    {"type": "file", "file_id": "file_1"},
)


@dataclass
class Built:
    """A request, and what the provider may make of it."""

    body: dict[str, Any]
    beta: str = ""
    pad: int = 256  # what the provider may add by itself
    images: int = 0
    image_bytes: int = 0
    whole_window: bool = False
    lifetimes: set[str] = field(default_factory=set)
    searches: int = 0
    speeds: tuple[str, ...] = ("standard",)
    geos: tuple[str, ...] = ("global", "us")

    @property
    def bytes(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def text_bytes(self) -> int:
        return len(self.bytes) - self.image_bytes


@st.composite
def requests(draw: st.DrawFn) -> Built:
    built = Built(body={})
    built.body["model"] = draw(st.sampled_from(MODELS))
    built.body["max_tokens"] = draw(st.integers(0, 64_000))
    if draw(st.booleans()):
        built.body["stream"] = draw(st.booleans())
    if draw(st.booleans()):
        built.body["system"] = _blocks(draw, built, tools=False)
    built.body["messages"] = [
        {"role": role, "content": _blocks(draw, built, tools=True) if draw(st.booleans()) else draw(TEXT)}
        for role in draw(ROLES)
    ]
    _tools(draw, built)
    _knobs(draw, built)
    return built


def _mark(draw: st.DrawFn, built: Built) -> dict[str, Any]:
    ttl = draw(TTLS)
    if ttl is None:
        return {}
    built.lifetimes |= {"write_5m", "write_1h"} if ttl == "1h" else {"write_5m"}
    return {"cache_control": {"type": "ephemeral"} | ({} if ttl == "plain" else {"ttl": ttl})}


def _blocks(draw: st.DrawFn, built: Built, *, tools: bool) -> list[dict[str, Any]]:
    return [_block(draw, built, kind) for kind in draw(KINDS if tools else TEXT_KINDS)]


def _block(draw: st.DrawFn, built: Built, kind: str) -> dict[str, Any]:
    make = {"image": _image, "pdf": _whole_document, "paper": _paper, "use": _use, "result": _result}.get(kind)
    if kind == "thinking":
        return {"type": "thinking", "thinking": draw(TEXT), "signature": "c2ln"}  # takes no mark
    block = make(draw, built) if make else {"type": "text", "text": draw(TEXT)}
    return block | _mark(draw, built)


def _whole_document(draw: st.DrawFn, built: Built) -> dict[str, Any]:
    built.whole_window = True
    return {"type": "document", "source": draw(st.sampled_from(WHOLE_SOURCES))}


def _paper(draw: st.DrawFn, _built: Built) -> dict[str, Any]:
    source = {"type": "text", "media_type": "text/plain", "data": draw(TEXT)}
    return {"type": "document", "source": source}


def _use(draw: st.DrawFn, _built: Built) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": "t1",
        "name": "Bash",
        "input": {"max_tokens": 7, "command": draw(TEXT)},
    }


def _result(draw: st.DrawFn, built: Built) -> dict[str, Any]:
    images = [_image(draw, built) for _ in range(draw(st.integers(0, 2)))]
    content = [{"type": "text", "text": draw(TEXT)}, *images]
    return {"type": "tool_result", "tool_use_id": "t1", "content": content}


def _image(draw: st.DrawFn, built: Built) -> dict[str, Any]:
    data = draw(st.sampled_from(["AAAA", "A" * 400]))
    built.images += 1
    built.image_bytes += len(data)
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def _tools(draw: st.DrawFn, built: Built) -> None:
    tools: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 3))):
        schema = {"type": "object", "properties": {draw(TEXT): {"type": "string"}}}
        tool: dict[str, Any] = {"name": f"tool{number}", "description": draw(TEXT), "input_schema": schema}
        tool |= _mark(draw, built)
        if draw(st.booleans()):
            tool["defer_loading"] = True
            built.pad += len(json.dumps(tool, ensure_ascii=False).encode())
        tools.append(tool)
    if draw(st.booleans()):
        tools.append({"type": "bash_20250124", "name": "bash"})
        built.pad += 2_048
    if draw(st.integers(0, 5)) == 0:
        built.searches = draw(st.integers(0, 4))
        tools.append({"type": "web_search_20250305", "name": "web_search", "max_uses": built.searches})
    if tools:
        built.body["tools"] = tools
        built.pad += 1_024


def _knobs(draw: st.DrawFn, built: Built) -> None:
    if draw(st.booleans()):
        built.body["thinking"] = {"type": "enabled", "budget_tokens": draw(st.integers(1_024, 32_000))}
    if draw(st.booleans()):
        built.body["service_tier"] = "auto"
    if draw(st.integers(0, 3)) == 0:
        built.beta = LONG
    if draw(st.booleans()):
        built.body["inference_geo"] = draw(st.sampled_from(["global", "us"]))
    if built.body["model"] == "claude-opus-5-5" and draw(st.booleans()):
        built.body["speed"] = "fast"
        built.speeds = ("fast", "standard")
    if draw(st.booleans()):
        schema = {"type": "json_schema", "schema": {"type": "object", "title": draw(TEXT)}}
        built.body["output_config"] = {"format": schema}
        built.pad += len(json.dumps(schema, ensure_ascii=False).encode())


@st.composite
def answers(draw: st.DrawFn, built: Built, card: RateCard, limit: int) -> list[Usage]:
    """A list of runs that the provider's law allows for this request: half of the time the dearest there is."""
    window = max(card.context_window or 0, 1_000_000 if built.beta == LONG else 0)
    whole = built.whole_window or built.searches > 0
    prompt = window if whole else built.text_bytes + built.pad + built.images * card.image_tokens
    kinds = ["input", "cache_read", *sorted(built.lifetimes | ({"write_5m"} if built.searches else set()))]
    if draw(st.booleans()):
        rates = card.rates_for(prompt)
        dearest = max(kinds, key=lambda kind: int(getattr(rates, kind)))
        runs = [_usage({dearest: prompt}, limit)] * (built.searches + 1)
        fees = built.searches
    else:
        runs = draw(st.lists(_usages(prompt, limit, kinds), min_size=1, max_size=built.searches + 1))
        fees = draw(st.integers(0, built.searches))
    return [replace(runs[0], pieces={"web_search": fees}), *runs[1:]]


@st.composite
def _usages(draw: st.DrawFn, prompt: int, limit: int, kinds: list[str]) -> Usage:
    """Any split of any prompt up to the largest."""
    size = draw(st.one_of(st.just(prompt), st.integers(0, prompt)))
    share = draw(st.integers(0, size))
    split = dict.fromkeys(kinds, 0)
    split[draw(st.sampled_from(kinds))] += share
    split[draw(st.sampled_from(kinds))] += size - share
    return _usage(split, draw(st.one_of(st.just(limit), st.integers(0, limit))))


def _usage(split: dict[str, int], output: int) -> Usage:
    return Usage(
        input=split.get("input", 0),
        cache_read=split.get("cache_read", 0),
        write_5m=split.get("write_5m", 0),
        write_1h=split.get("write_1h", 0),
        output=output,
    )


@cache
def _card(model: str, modifiers: Modifiers) -> RateCard:
    return book().card("anthropic", model, at=NOW, modifiers=modifiers)


def _reachable(ask: Ask) -> tuple[RateCard, ...]:
    return book().reachable("anthropic", ask.model, start=NOW, end=NOW + timedelta(minutes=20), modifiers=ask.modifiers)


def _ask(built: Built) -> Ask:
    ask = Anthropic().ask(built.bytes, {"anthropic-beta": built.beta}, allow=frozenset({"web_search"}))
    assert not ask.refusals
    return ask


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), data=st.data())
def test_no_legal_answer_costs_more_than_was_held(built: Built, data: st.DataObject) -> None:
    """For every legal request and every usage that the providers' law allows, hold >= cost."""
    ask = _ask(built)
    limit = built.body["max_tokens"]
    held = hold_for(ask, _reachable(ask), limit)
    billed = Modifiers(speed=data.draw(st.sampled_from(built.speeds)), geo=data.draw(st.sampled_from(built.geos)))
    card = _card(built.body["model"], billed)
    cost = total([card.cost(usage) for usage in data.draw(answers(built, card, limit))])
    assert cost <= held


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), room=st.integers(0, 3_000_000_000), data=st.data())
def test_a_clamped_request_costs_no_more_than_the_room_that_it_was_clamped_to(
    built: Built, room: int, data: st.DataObject
) -> None:
    """A lowered output limit makes the hold fit, and the answer with it; it is never lowered below what is useful."""
    ask = _ask(built)
    cards = _reachable(ask)
    limit = clamped(ask, cards, Money(room), asked=built.body["max_tokens"])
    if limit is None:
        return
    billed = Modifiers(speed=data.draw(st.sampled_from(built.speeds)), geo=data.draw(st.sampled_from(built.geos)))
    card = _card(built.body["model"], billed)
    assert total([card.cost(usage) for usage in data.draw(answers(built, card, limit))]) <= Money(room)


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), card=price_lists({"web_search": 10_000_000_001}), data=st.data())
def test_the_hold_covers_the_cost_on_any_price_list(built: Built, card: RateCard, data: st.DataObject) -> None:
    """No order among prices is assumed: a read may be dearer than a write, a tier cheaper than the base."""
    ask = _ask(built)
    held = hold_for(ask, [card], built.body["max_tokens"])
    cost = total([card.cost(usage) for usage in data.draw(answers(built, card, built.body["max_tokens"]))])
    assert cost <= held
