"""THE PROPERTY for OpenAI's two APIs: whatever a legal request lets an answer cost, the hold was at least that.

The law is written here a second time, from the request as it was *built* and not from what the dialect read in its
bytes: a token is at least one byte of the body or of the pad, an image is at most the card's maximum, what the body
does not hold is at most the context window, the output limit is strict and counts for each of `n` answers, and since
GPT-5.6 any token of the prompt may be a cache write. What an answer costs is told in the provider's own words, as a
usage object inside an answer, and read by the dialect's own meter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import NOW, TEXT, TIMES, book, clamped, price_lists

from crewcap.core.asks import Ask
from crewcap.core.holding import hold_for
from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, RateCard
from crewcap.wire import Dialect, Reading
from crewcap.wire import Tier as RouteTier
from crewcap.wire.openai_chat import Chat
from crewcap.wire.openai_responses import Responses

MODELS = ("gpt-5", "gpt-5.4-mini", "gpt-5.5", "gpt-5.6-sol", "gpt-6.1-sol", "gpt-6-luna")  # sold at every tier
ALLOWED = frozenset({"web_search", "file_search", "compaction", "previous_response_id", "input_file"})
SERVED_AS: dict[RouteTier, tuple[str, ...]] = {  # the answer's words; nothing: as dear as it may be
    "default": ("default",),
    "flex": ("flex", "default"),
    "priority": ("priority", "default"),
}
DEAREST: dict[RouteTier, str] = {"default": "standard", "flex": "standard", "priority": "priority"}


@dataclass
class Built:
    """A request, and what the provider may make of it."""

    api: Literal["responses", "chat"]
    body: dict[str, Any]
    tier: RouteTier = "default"
    pad: int = 256  # what the provider may add by itself
    images: int = 0
    image_bytes: int = 0
    whole_window: bool = False
    calls: int = 0  # of hosted tools
    fees: set[str] = field(default_factory=set)
    runs: int = 1  # compaction runs the model once more
    answers: int = 1
    beside: int = 0  # tokens of output beside the limit

    @property
    def bytes(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def dialect(self) -> Dialect:
        return Responses(tier=self.tier) if self.api == "responses" else Chat(tier=self.tier)

    @property
    def limit(self) -> int:
        limits = ("max_output_tokens", "max_completion_tokens", "max_tokens")
        return int(next(self.body[name] for name in limits if name in self.body))

    @property
    def samplings(self) -> int:
        return (1 + self.calls) * self.runs


# --- requests


@st.composite
def requests(draw: st.DrawFn) -> Built:
    built = draw(st.one_of(_responses(), _chats()))
    built.body["stream"] = draw(st.booleans())
    if draw(st.booleans()):
        built.body["service_tier"] = draw(st.sampled_from(["auto", "fast", "flex", "priority"]))
    built.tier = draw(st.sampled_from(["default", "default", "flex", "priority"]))
    built.body["model"] = draw(st.sampled_from(MODELS))
    return built


@st.composite
def _responses(draw: st.DrawFn) -> Built:
    built = Built(api="responses", body={"max_output_tokens": draw(st.integers(0, 64_000))})
    built.body["instructions"] = draw(TEXT)
    kinds = st.sampled_from(["message", "call", "output", "reasoning", "tools", "compaction", "searched"])
    built.body["input"] = [_item(draw, built, kind) for kind in draw(st.lists(kinds, min_size=1, max_size=4))]
    if draw(st.integers(0, 5)) == 0:
        built.body["previous_response_id"] = "resp_1"
        built.whole_window = True
    if draw(st.integers(0, 5)) == 0:
        built.body["context_management"] = [{"type": "compaction", "compact_threshold": 10_000}]
        built.runs = 2
    _hosted_tools(draw, built)
    if draw(st.booleans()):
        form = {"type": "json_schema", "name": "n", "schema": {"type": "object", "title": draw(TEXT)}}
        built.body["text"] = {"format": form}
        built.pad += len(json.dumps(form, ensure_ascii=False).encode())
    return built


def _item(draw: st.DrawFn, built: Built, kind: str) -> dict[str, Any]:
    match kind:
        case "call":
            return {"type": "function_call", "call_id": "c", "name": "exec", "arguments": draw(TEXT)}
        case "output":
            return {"type": "custom_tool_call_output", "call_id": "c", "output": _parts(draw, built)}
        case "reasoning":
            return {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA" + "x" * draw(st.integers(0, 99))}
        case "tools":
            return {"type": "additional_tools", "role": "developer", "tools": _functions(draw, built)}
        case "compaction" | "searched":
            built.whole_window = True
            return {"type": {"compaction": kind, "searched": "web_search_call"}[kind], "id": "i"}
        case _:
            return {"role": draw(st.sampled_from(["user", "assistant"])), "content": _parts(draw, built)}


def _parts(draw: st.DrawFn, built: Built) -> list[dict[str, Any]] | str:
    if draw(st.booleans()):
        return draw(TEXT)
    kinds = draw(st.lists(st.sampled_from(["text", "image", "address", "file"]), max_size=3))
    return [_part(draw, built, kind) for kind in kinds]


def _part(draw: st.DrawFn, built: Built, kind: str) -> dict[str, Any]:
    is_chat = built.api == "chat"
    match kind:
        case "image" | "address":
            url = "https://example.org/a.png" if kind == "address" else "data:image/png;base64," + "A" * 300
            built.images += 1
            built.image_bytes += 0 if kind == "address" else len(url)
            return (
                {"type": "image_url", "image_url": {"url": url}}
                if is_chat
                else {"type": "input_image", "image_url": url}
            )
        case "file":
            built.whole_window = True
            return {"type": "file", "file": {"file_id": "f"}} if is_chat else {"type": "input_file", "file_id": "f"}
        case _:
            return {"type": "text" if is_chat else "input_text", "text": draw(TEXT)}


def _functions(draw: st.DrawFn, built: Built) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    built.pad += 1_024 if built.pad < 1_024 else 0
    for number in range(draw(st.integers(0, 2))):
        schema = {"type": "object", "properties": {draw(TEXT): {"type": "string"}}}
        tool: dict[str, Any] = {"type": "function", "name": f"t{number}", "parameters": schema}
        if draw(st.booleans()):
            tool["defer_loading"] = True
            built.pad += len(json.dumps(tool, ensure_ascii=False).encode())
        tools.append(tool)
    if built.api == "responses" and draw(st.booleans()):
        tools.append({"type": "local_shell"})
        built.pad += 2_048
    return tools


def _hosted_tools(draw: st.DrawFn, built: Built) -> None:
    built.body["tools"] = _functions(draw, built)
    if draw(st.integers(0, 3)) == 0 and not built.body.get("max_tool_calls"):
        hosted = draw(st.sampled_from([("web_search", "web_search"), ("file_search", "storage_search")]))
        built.body["tools"].append({"type": hosted[0]})
        built.body["max_tool_calls"] = built.calls = draw(st.integers(0, 4))
        built.fees = {hosted[1]}


@st.composite
def _chats(draw: st.DrawFn) -> Built:
    name = draw(st.sampled_from(["max_tokens", "max_completion_tokens"]))
    built = Built(api="chat", body={name: draw(st.integers(0, 64_000))})
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=4))
    built.body["messages"] = [{"role": role, "content": _parts(draw, built)} for role in roles]
    if draw(st.booleans()):
        built.body["n"] = built.answers = draw(st.integers(1, 4))
    if draw(st.integers(0, 3)) == 0:
        built.body["prediction"] = {"type": "content", "content": draw(TEXT)}
        built.beside = len(json.dumps(built.body["prediction"], ensure_ascii=False).encode())
    if draw(st.booleans()):
        built.body["tools"] = [
            {"type": "function", "function": {key: each[key] for key in each if key != "type"}}
            for each in _functions(draw, built)
        ]
    if draw(st.booleans()):
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": draw(TEXT)}}}
        built.body["response_format"] = form
        built.pad += len(json.dumps(form, ensure_ascii=False).encode())
    return built


# --- answers


@st.composite
def answers(draw: st.DrawFn, built: Built, card: RateCard, limit: int) -> Reading:
    """An answer that the provider's law allows for this request, as its meter reads it."""
    tokens = _largest_prompt(built, card) * built.samplings
    output = built.answers * (limit + built.beside) * built.samplings
    if draw(st.booleans()):
        rates = card.rates_for(tokens // built.samplings)
        dearest = max(("input", "cache_read", "write_5m"), key=lambda kind: int(getattr(rates, kind)))
        prompt, cached, written = tokens, tokens * (dearest == "cache_read"), tokens * (dearest == "write_5m")
    else:
        prompt = draw(st.one_of(st.just(tokens), st.integers(0, tokens)))
        cached = draw(st.integers(0, prompt))
        written = draw(st.integers(0, prompt - cached))
        output = draw(st.one_of(st.just(output), st.integers(0, output)))
    usage = _usage(draw, built, (prompt, cached, written, output))
    fees = [f"{fee.replace('storage', 'file')}_call" for fee in built.fees for _ in range(built.calls)]
    return _read(built, usage | {"tier": draw(st.sampled_from([*SERVED_AS[built.tier], None])), "fees": fees})


def _largest_prompt(built: Built, card: RateCard) -> int:
    if built.whole_window or built.samplings > 1 or built.fees:
        return card.context_window or 0
    return len(built.bytes) - built.image_bytes + built.pad + built.images * card.image_tokens


def _usage(draw: st.DrawFn, built: Built, counts: tuple[int, int, int, int]) -> dict[str, Any]:
    """The counts in the words of the API."""
    prompt, cached, written, output = counts
    words = ("input", "output") if built.api == "responses" else ("prompt", "completion")
    return {
        "usage": {
            f"{words[0]}_tokens": prompt,
            f"{words[0]}_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            f"{words[1]}_tokens": output,
            f"{words[1]}_tokens_details": {"reasoning_tokens": draw(st.integers(0, output))},
            "total_tokens": prompt + output,
        }
    }


def _read(built: Built, said: dict[str, Any]) -> Reading:
    """What the dialect's meter makes of an answer with this usage."""
    stream = bool(built.body["stream"])
    base = {"id": "r", "model": built.body["model"], "service_tier": said["tier"], "usage": said["usage"]}
    if built.api == "responses":
        whole: dict[str, Any] = base | {"status": "completed", "output": [{"type": fee} for fee in said["fees"]]}
        text = (
            f"data: {json.dumps({'type': 'response.completed', 'response': whole})}\n\n"
            if stream
            else json.dumps(whole)
        )
    else:
        whole = base | {"choices": []}
        text = f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n" if stream else json.dumps(whole)
    meter = built.dialect.meter(stream=stream, write="5m", answers=built.answers)
    meter.feed(text.encode())
    return meter.close()


# --- prices


@cache
def _card(model: str, modifiers: Modifiers) -> RateCard:
    return book().card("openai", model, at=NOW, modifiers=modifiers)


def _reachable(ask: Ask) -> tuple[RateCard, ...]:
    return book().reachable("openai", ask.model, start=NOW, end=NOW + timedelta(minutes=20), modifiers=ask.modifiers)


def _ask(built: Built) -> Ask:
    ask = built.dialect.ask(built.bytes, {}, allow=ALLOWED)
    assert not ask.refusals
    return ask


def _billed(built: Built, reading: Reading, card: RateCard | None = None) -> Money:
    """What a complete answer costs, at its own tier."""
    assert reading.is_complete
    assert reading.usage_is_whole
    assert not reading.doubt
    assert reading.usage is not None
    return (card or _card(built.body["model"], reading.modifiers)).cost(reading.usage)


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), data=st.data())
def test_no_legal_answer_costs_more_than_was_held(built: Built, data: st.DataObject) -> None:
    """For every legal request and every usage that the provider's law allows, hold >= cost."""
    ask = _ask(built)
    held = hold_for(ask, _reachable(ask), built.limit)
    card = _card(built.body["model"], Modifiers(tier=DEAREST[built.tier]))
    assert _billed(built, data.draw(answers(built, card, built.limit))) <= held


@settings(max_examples=150 * TIMES, deadline=None)
@given(built=requests(), room=st.integers(0, 3_000_000_000), data=st.data())
def test_a_clamped_request_costs_no_more_than_the_room_that_it_was_clamped_to(
    built: Built, room: int, data: st.DataObject
) -> None:
    """A lowered output limit makes the hold fit, and the answer with it; what is forwarded says the same limit."""
    ask = _ask(built)
    cards = _reachable(ask)
    limit = clamped(ask, cards, Money(room), asked=built.limit)
    if limit is None:
        return
    forwarded = built.dialect.ask(built.dialect.rewrite(built.bytes, max_output=limit), {}, allow=ALLOWED)
    assert (forwarded.max_output, forwarded.notes) == (limit, ())
    card = _card(built.body["model"], Modifiers(tier=DEAREST[built.tier]))
    assert _billed(built, data.draw(answers(built, card, limit))) <= Money(room)


@settings(max_examples=150 * TIMES, deadline=None)
@given(
    built=requests(),
    card=price_lists({"web_search": 10_000_000_001, "storage_search": 2_500_000_001}),
    data=st.data(),
)
def test_the_hold_covers_the_cost_on_any_price_list(built: Built, card: RateCard, data: st.DataObject) -> None:
    """No order among prices is assumed: a read may be dearer than a write, a tier cheaper than the base."""
    ask = _ask(built)
    held = hold_for(ask, [card], built.limit)
    assert _billed(built, data.draw(answers(built, card, built.limit)), card) <= held
