"""What prompts are made of, in each dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crewcap.core.makeup import PARTS, Makeup
from crewcap.wire.makeup import IMAGE_LETTERS, of_request


def parts(dialect: str, body: Any) -> dict[str, int]:
    found = of_request(dialect, json.dumps(body).encode())
    return {part: getattr(found, part) for part in PARTS if getattr(found, part)}


def test_a_conversation_of_the_messages_api() -> None:
    body = {
        "tools": [{"name": "Read", "description": "x" * 500}],
        "system": [{"type": "text", "text": "s" * 200}],
        "messages": [
            {"role": "user", "content": "p" * 100},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t" * 50},
                {"type": "tool_use", "id": "a", "name": "Read", "input": {"path": "f"}},
                {"type": "tool_use", "id": "b", "name": "mcp__shell__Bash", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "f" * 4_000},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "r" * 300}]},
                {"type": "image", "source": {"data": "A" * 90_000}},
            ]},
        ],
    }  # fmt: skip
    found = parts("anthropic", body)
    assert 500 <= found["tools"] < 560
    assert 200 <= found["instructions"] < 220
    assert found["prompts"] == 100
    assert found["files"] == 4_000 + IMAGE_LETTERS
    assert 300 <= found["results"] < 320
    assert 50 <= found["history"] < 200


def test_a_chat_and_a_response() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    chat = {
        "messages": [
            {"role": "system", "content": "s" * 90},
            {"role": "user", "content": "p" * 80},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": "f" * 700},
            {"role": "tool", "tool_call_id": "z", "content": "r" * 600},
        ]
    }
    items = {
        "instructions": "s" * 90,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "p" * 80}]},
            {"type": "function_call", "call_id": "a", "name": "read_file", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "f" * 700},
            {"type": "function_call_output", "call_id": "z", "output": "r" * 600},
        ],
    }
    for body in (chat, items):
        found = parts("openai", body)
        assert 700 <= found["files"] < 800
        assert 600 <= found["results"] < 700
        assert 80 <= found["prompts"] < 170
        assert 90 <= found["instructions"] < 130
        assert found["history"] > 0
    assert parts("openai", {"input": "p" * 9}) == {"prompts": 9}


def test_contents_of_gemini() -> None:
    body = {
        "systemInstruction": {"parts": [{"text": "s" * 40}]},
        "contents": [
            {"role": "user", "parts": [{"text": "p" * 30}, {"inlineData": {"data": "A" * 5_000}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "read_file"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "read_file", "response": {"output": "f" * 900}}}]},
        ],
    }
    found = parts("gemini", body)
    assert found["files"] >= 900 + IMAGE_LETTERS
    assert 30 <= found["prompts"] < 40
    assert found["instructions"] >= 40


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "content", "type", "role", "input", "contents", "parts", "tools"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=80)
@given(JSON, st.sampled_from(["anthropic", "openai", "gemini", "other"]))
@example({"tools": {"type": []}}, "anthropic")
def test_a_body_of_any_other_shape_harms_nobody(body: Any, dialect: str) -> None:
    assert of_request(dialect, json.dumps(body).encode()).whole >= 0


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 2_000])
def test_what_is_no_json_is_nothing(body: bytes) -> None:
    assert of_request("anthropic", body) == Makeup()
