"""The same property for OpenAI's two APIs and Gemini's: no prompt is larger than what prefix memory bounds it by.

Here the provider's law is that of bytes alone: every turn is at most what it is written with, a tool or an instruction
too, and the same text is always as dense. What a client does to its conversation is up to it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import TIMES

from crewcap.wire import ENDPOINTS
from crewcap.wire.outline import grown

TEXT = st.one_of(st.text('aé漢🙂"\n', max_size=30), st.sampled_from(["", "word " * 300, "漢" * 200]))
VALUE = st.one_of(TEXT, st.sampled_from([0, 1, True, False, 1.0, None, [1, 1], {"a": 1, "b": True}]))
Turn = Callable[[st.DrawFn], dict[str, Any]]


def _arguments(draw: st.DrawFn) -> str:
    return json.dumps({"command": draw(TEXT)})


def responses_turn(draw: st.DrawFn) -> dict[str, Any]:
    text = draw(TEXT)
    return draw(
        st.sampled_from(
            [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
                {"role": "user", "content": text},
                {"type": "function_call", "call_id": "c", "name": "run", "arguments": _arguments(draw)},
                {"type": "function_call_output", "call_id": "c", "output": text},
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [],
                    "encrypted_content": "Zm9v" * draw(st.integers(1, 99)),
                },
            ]
        )
    )


def chat_turn(draw: st.DrawFn) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": _arguments(draw)}}
    text = draw(TEXT)
    return draw(
        st.sampled_from(
            [
                {"role": "user", "content": text},
                {"role": "user", "content": [{"type": "text", "text": text}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "assistant", "content": text, "reasoning_content": draw(TEXT)},
                {"role": "tool", "tool_call_id": "c", "content": text},
            ]
        )
    )


def gemini_turn(draw: st.DrawFn) -> dict[str, Any]:
    part = draw(
        st.sampled_from(
            [
                {"text": draw(TEXT)},
                {"text": draw(TEXT), "thought": True},
                {"functionCall": {"name": "run", "args": {"n": draw(VALUE)}}, "thoughtSignature": "c2ln" * 40},
                {"functionResponse": {"name": "run", "response": {"n": draw(VALUE)}}},
            ]
        )
    )
    return {"role": draw(st.sampled_from(["user", "model"])), "parts": [part]}


API: dict[str, tuple[str, str, Turn, dict[str, Any]]] = {
    "responses": ("/v1/responses", "input", responses_turn, {"model": "gpt-5.6", "instructions": "Be terse."}),
    "chat": ("/v1/chat/completions", "messages", chat_turn, {"model": "gpt-5.6"}),
    "gemini": ("/v1beta/models/{model}:generateContent", "contents", gemini_turn, {"generationConfig": {"topK": 5}}),
}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "responses": [{"type": "function", "name": "run", "parameters": {"type": "object"}}],
    "chat": [{"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}],
    "gemini": [{"functionDeclarations": [{"name": "run"}]}],
}


def prompt(body: dict[str, Any], turns: str, seed: int, *, drops: bool) -> int:
    """What a provider may bill; `drops`: thoughts before the last turn that is not a thought are left out."""
    rest = {key: value for key, value in body.items() if key not in {turns, "model", "generationConfig"}}
    kept = [turn for turn in body[turns] if not (drops and _is_thought(turn))]
    return 200 + _share(rest, seed) + sum(_share(_in_order(turn), seed) for turn in kept)


def _in_order(turn: dict[str, Any]) -> dict[str, Any]:
    """The order of a message's and its parts' own members means nothing; that inside of a call does."""
    content = turn.get("content")
    parts = [dict(sorted(part.items())) for part in content] if isinstance(content, list) else content
    return dict(sorted({**turn, **({"content": parts} if "content" in turn else {})}.items()))


def _is_thought(turn: dict[str, Any]) -> bool:
    parts = turn.get("parts", [])
    return turn.get("type") == "reasoning" or any("thought" in part for part in parts)


def _share(value: Any, seed: int) -> int:
    """A text's own density, of the least bytes that it can be written with; a lone text counts no list around it."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256(f"{seed}".encode() + written).digest()
    return len(written) * (256 if digest[0] < 150 else digest[1]) // 256


def _swapped(value: Any) -> Any:
    match value:
        case bool():
            return int(value)
        case int() | float() if value in {0, 1}:
            return bool(value)
        case dict():
            return {key: _swapped(member) for key, member in reversed(value.items())}
        case list():
            return [_swapped(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("api", API)
@settings(max_examples=120 * TIMES, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9))
def test_no_prompt_is_larger_than_what_was_settled_and_what_is_new(api: str, data: st.DataObject, seed: int) -> None:
    """Whatever was taken away, put in, swapped or spelled otherwise; where it is not bounded, bytes bound it."""
    template, turns, make, fixed = API[api]
    draw: Any = data.draw
    before: dict[str, Any] = {**copy.deepcopy(fixed), turns: [make(draw) for _ in range(draw(st.integers(1, 4)))]}
    if draw(st.booleans()):
        before["tools"] = TOOLS[api]
    now = copy.deepcopy(before)
    now[turns] += [make(draw) for _ in range(draw(st.integers(0, 3)))]
    for trick in draw(st.lists(st.sampled_from(["drop", "insert", "swap", "tools", "back"]), max_size=3)):
        place = draw(st.integers(0, max(0, len(now[turns]) - 1)))
        match trick:
            case "drop" if len(now[turns]) > 1:
                del now[turns][place]
            case "insert":
                now[turns].insert(place, make(draw))
            case "swap":
                now[turns] = [_swapped(turn) for turn in now[turns]]
            case "tools":
                now["tools"] = TOOLS[api] * 2
            case "back":
                now[turns] = now[turns][: place + 1]
    dialect = ENDPOINTS["gemini" if api == "gemini" else "openai"][template]()
    was, is_ = (dialect.outline(json.dumps(body, ensure_ascii=False).encode()) for body in (before, now))
    assert was is not None
    assert is_ is not None
    bound = grown(was, is_)
    if bound is None or bound.whole_window:
        return
    dropped = draw(st.booleans())
    settled = prompt(before, turns, seed, drops=dropped)
    shares_all = now[turns][: len(before[turns])] == before[turns]
    real = prompt(now, turns, seed, drops=dropped if shares_all else False)
    assert real <= settled + bound.text_bytes + bound.pad
