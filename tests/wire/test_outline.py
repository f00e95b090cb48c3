"""Whether a request goes on from another, and what it adds: by structure, and never on the cheap."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crewcap.core.asks import Ask, Bound
from crewcap.wire import ENDPOINTS, Dialect, outline
from crewcap.wire.outline import Difference, difference, grown

MESSAGES = "/v1/messages"
GEMINI = "/v1beta/models/gemini-3-pro-preview:generateContent"
MARK = {"type": "ephemeral"}


def dialect(path: str) -> Dialect:
    templates = {template: speak for family in ENDPOINTS.values() for template, speak in family.items()}
    return templates["/v1beta/models/{model}:generateContent" if path == GEMINI else path]()


ANTHROPIC: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 1_000,
    "system": [{"type": "text", "text": "You are terse.", "cache_control": MARK}],
    "tools": [{"name": "Bash", "description": "runs", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": MARK}]}],
}
ANSWER: dict[str, Any] = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "u1", "name": "Bash", "input": {"n": 1, "go": True}}],
}
RESULT = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "u1", "content": "done", "cache_control": MARK}],
}
RESPONSES: dict[str, Any] = {
    "model": "gpt-5.6",
    "instructions": "You are terse.",
    "tools": [{"type": "function", "name": "run", "parameters": {}}],
    "input": [{"role": "user", "content": "hello"}],
}
CHAT: dict[str, Any] = {
    "model": "gpt-5.6",
    "tools": [{"type": "function", "function": {"name": "run", "parameters": {}}}],
    "messages": [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "hello"}],
}
CONTENTS: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "You are terse."}]},
    "tools": [{"functionDeclarations": [{"name": "run"}]}],
    "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
}


def sent(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def added(before: dict[str, Any], now: dict[str, Any], path: str = MESSAGES) -> Bound | None:
    was, is_ = (dialect(path).outline(sent(body)) for body in (before, now))
    return None if was is None or is_ is None else grown(was, is_)


def asked(body: dict[str, Any], path: str = MESSAGES, **headers: str) -> Ask:
    return dialect(path).ask(sent(body), headers, allow=frozenset(), path=path)


def anthropic(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**ANTHROPIC, "messages": [*ANTHROPIC["messages"], *messages], **fields}


def respelled(body: dict[str, Any]) -> dict[str, Any]:
    """The same, as an agent sends it a turn later: marks gone, a lone text without its list."""
    return {
        **body,
        "messages": [{"role": "user", "content": "hello"}, *body["messages"][1:]],
        "system": "You are terse.",
    }


CONVERSATIONS = [
    pytest.param(MESSAGES, ANTHROPIC, "messages", [ANSWER, RESULT], id="messages"),
    pytest.param(
        "/v1/responses",
        RESPONSES,
        "input",
        [
            {"type": "function_call", "name": "run", "arguments": "{}", "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
        ],
        id="responses",
    ),
    pytest.param(
        "/v1/chat/completions",
        CHAT,
        "messages",
        [
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "c", "content": "done"},
        ],
        id="chat",
    ),
    pytest.param(
        GEMINI,
        CONTENTS,
        "contents",
        [
            {"role": "model", "parts": [{"functionCall": {"name": "run"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "run", "response": {"ok": True}}}]},
        ],
        id="gemini",
    ),
]


@pytest.mark.parametrize(("path", "body", "turns", "more"), CONVERSATIONS)
def test_a_conversation_that_goes_on_adds_the_bytes_of_what_is_new_and_the_pads(
    path: str, body: dict[str, Any], turns: str, more: list[dict[str, Any]]
) -> None:
    """In every dialect; a comma for each."""
    now = {**body, turns: [*body[turns], *more]}
    found = added(body, now, path)
    assert found is not None
    assert found.text_bytes == sum(len(sent(each)) + 1 for each in more)
    assert found.pad == asked(now, path).bound.pad
    assert not found.whole_window


@pytest.mark.parametrize(("path", "body", "turns", "more"), CONVERSATIONS)
def test_a_conversation_keeps_its_name_as_it_goes_on(
    path: str, body: dict[str, Any], turns: str, more: list[dict[str, Any]]
) -> None:
    """The name says where to look for what was settled before; another beginning has another one."""
    name = asked(body, path).conversation
    assert name
    assert asked({**body, turns: [*body[turns], *more]}, path).conversation == name
    text = json.dumps(body).replace("hello", "good morning")
    assert asked(json.loads(text), path).conversation != name


@pytest.mark.parametrize(("path", "body", "turns", "more"), CONVERSATIONS)
def test_tools_and_all_that_may_change_a_prompt_must_be_equal(
    path: str, body: dict[str, Any], turns: str, more: list[dict[str, Any]]
) -> None:
    """What cannot change it, like the output limit, need not be."""
    now = {**body, turns: [*body[turns], *more]}
    others: dict[str, dict[str, Any]] = {
        MESSAGES: {"thinking": {"type": "adaptive"}},
        "/v1/responses": {"reasoning": {"effort": "high"}},
        "/v1/chat/completions": {"reasoning_effort": "high"},
        GEMINI: {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}},
    }
    assert added(body, {**now, **others[path]}, path) is None
    assert added(body, {**now, "tools": body["tools"] * 2}, path) is None
    loose = {
        MESSAGES: {"max_tokens": 5},
        "/v1/responses": {"max_output_tokens": 5},
        "/v1/chat/completions": {"max_tokens": 5},
    }
    assert added(body, {**now, **loose.get(path, {"labels": {"a": "b"}})}, path) is not None


@pytest.mark.parametrize(
    "field", ["model", "system", "tools", "tool_choice", "thinking", "context_management", "output_config"]
)
def test_every_field_that_the_law_names_must_be_equal(field: str) -> None:
    """MONEY 2.4."""
    other = {"model": "claude-haiku-4-5", "system": "Be loud.", "tools": []}.get(field, {"type": "other"})
    assert added(ANTHROPIC, anthropic(ANSWER, **{field: other})) is None


def test_marks_may_move_and_a_text_may_lose_its_list() -> None:
    """Agents do both every turn."""
    assert added(ANTHROPIC, respelled(anthropic(ANSWER, RESULT))) == added(ANTHROPIC, anthropic(ANSWER, RESULT))
    assert (
        added(respelled(anthropic(ANSWER, RESULT)), anthropic(ANSWER, RESULT, {"role": "user", "content": "go"}))
        is not None
    )


@pytest.mark.parametrize(
    "tool_input", [{"n": True, "go": True}, {"n": 1.0, "go": True}, {"go": True, "n": 1}, {"n": 1, "go": 1}]
)
def test_what_a_model_may_read_otherwise_is_not_equal(tool_input: dict[str, Any]) -> None:
    """Python takes 1, 1.0 and true for one value, and minds no order."""
    was = anthropic(ANSWER, RESULT)
    swapped = {"role": "assistant", "content": [{**ANSWER["content"][0], "input": tool_input}]}
    now = anthropic(swapped, RESULT)
    honest, found = added(was, was), added(was, now)
    assert honest is not None
    assert found is not None
    assert honest.text_bytes == 0
    assert found.text_bytes == len(sent(swapped)) + len(sent(RESULT)) + 2


def test_a_long_number_is_not_a_short_one() -> None:
    """A provider may count what was sent, not what it is worth."""
    was = sent(anthropic(ANSWER, RESULT))
    long = was.replace(b'"n": 1', b'"n": 1.' + b"0" * 400)
    speak = dialect(MESSAGES)
    one, other = speak.outline(was.replace(b'"n": 1', b'"n": 1.0')), speak.outline(long)
    assert one is not None
    assert other is not None
    found = grown(one, other)
    assert found is not None
    assert found.text_bytes > 400


def test_what_was_settled_before_a_change_still_bounds_what_is_shared() -> None:
    """A reminder that an agent puts at the end and takes away again costs its bytes, and no more."""
    reminder = {"role": "user", "content": "you have 12 cents left"}
    found = added(anthropic(reminder), anthropic(ANSWER, RESULT))
    assert found is not None
    assert found.text_bytes == len(sent(ANSWER)) + len(sent(RESULT)) + 2
    assert added(anthropic(), {**ANTHROPIC, "messages": [{"role": "user", "content": "other"}]}) is None


def test_thoughts_that_were_dropped_count_again_when_a_client_goes_back() -> None:
    """The settled prompt did not have them: something new was said after them."""
    thought = {"type": "thinking", "thinking": "", "signature": "c2ln" * 100}
    answer = {"role": "assistant", "content": [thought, *ANSWER["content"]]}
    said = anthropic(answer, RESULT, {"role": "user", "content": "something new"})
    more = {"role": "assistant", "content": "well"}
    forth, back = (
        added(said, {**said, "messages": [*said["messages"], more]}),
        added(said, anthropic(answer, RESULT, more)),
    )
    assert forth is not None
    assert back is not None
    assert forth.text_bytes == len(sent(more)) + 1
    assert back.text_bytes >= len(sent(more)) + len(sent(thought))


def test_pictures_and_papers_in_what_is_new_count_as_they_do_anywhere() -> None:
    """A picture by its number; a paper can be anything."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 1_000}}
    paper = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    found = added(ANTHROPIC, anthropic({"role": "user", "content": [picture]}))
    assert found is not None
    assert (found.images, found.text_bytes < 300) == (1, True)
    found = added(ANTHROPIC, anthropic({"role": "user", "content": [paper]}))
    assert found is not None
    assert found.whole_window


def test_a_paper_that_was_settled_is_bounded_by_its_bill() -> None:
    """What it came to is known now."""
    paper = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    was = anthropic({"role": "user", "content": [paper]})
    found = added(was, {**was, "messages": [*was["messages"], ANSWER]})
    assert found is not None
    assert not found.whole_window


def test_deferred_tools_are_counted_every_time() -> None:
    """They may be shown in any turn."""
    deferred = {"name": "Far", "description": "x" * 500, "input_schema": {}, "defer_loading": True}
    was = anthropic(tools=[deferred])
    found = added(was, anthropic(ANSWER, tools=[deferred]))
    assert found is not None
    assert found.pad >= 256 + 1_024 + len(sent(deferred))


def test_a_request_whose_items_the_provider_may_leave_out_is_not_compared() -> None:
    """What was billed does not stand for what was sent."""
    assert dialect("/v1/responses").outline(sent({**RESPONSES, "truncation": "auto"})) is None
    assert dialect("/v1/responses").outline(sent({**RESPONSES, "truncation": "disabled"})) is not None


def test_an_input_of_one_text_is_one_message() -> None:
    """OpenAI's clients send either."""
    was = {**RESPONSES, "input": "hello"}
    now = {**RESPONSES, "input": [*RESPONSES["input"], {"role": "user", "content": "more"}]}
    found = added(was, now, "/v1/responses")
    assert found is not None
    assert found.text_bytes == len(sent({"role": "user", "content": "more"})) + 1


def test_other_betas_are_another_conversation() -> None:
    """A beta may change what a prompt is billed as."""
    plain = asked(ANTHROPIC).conversation
    beta = (
        dialect(MESSAGES).ask(sent(ANTHROPIC), {"anthropic-beta": "effort-2025-11-24"}, allow=frozenset()).conversation
    )
    assert plain != beta


def test_a_name_is_made_of_the_ends_of_what_was_said_first() -> None:
    """Two long beginnings that differ in the middle share it; nothing rests on that."""
    assert outline.name_of(["a" * 2_000]) == outline.name_of(["a" * 900 + "b" + "a" * 1_099])
    assert outline.name_of(["a" * 2_000]) != outline.name_of(["a" * 2_001])
    assert outline.name_of(["\ud800"])


DIFFERENCES = [
    ({"tools": []}, Difference(part="tools", offset=1)),
    ({"system": "You are tense."}, Difference(part="system", offset=20)),
    ({"messages": [{"role": "user", "content": "help"}]}, Difference(part="message 1", offset=24)),
    ({"thinking": {"type": "adaptive"}}, Difference(part="settings", offset=0)),
    ({}, None),
]


@pytest.mark.parametrize(("change", "found"), DIFFERENCES)
def test_the_first_difference_is_named(change: dict[str, Any], found: Difference | None) -> None:
    """In the provider's order: tools, system, messages; with the letter inside of the part."""
    was, now = (dialect(MESSAGES).outline(sent(body)) for body in (ANTHROPIC, {**ANTHROPIC, **change}))
    assert was is not None
    assert now is not None
    assert difference(was, now) == found


def test_a_message_that_is_gone_is_a_difference() -> None:
    """The cache behind it is of no use any more."""
    was, now = (dialect(MESSAGES).outline(sent(body)) for body in (anthropic(ANSWER, RESULT), anthropic(ANSWER)))
    assert was is not None
    assert now is not None
    found = difference(was, now)
    assert found is not None
    assert str(found) == "message 3, character 0"
    assert difference(now, was) is None
