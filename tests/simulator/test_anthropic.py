"""A request is read for what it says, never for how many messages it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.simulator.anthropic import read
from crewcap.simulator.conversation import Asked, BadRequest, Call, call_id
from crewcap.simulator.tokens import REQUEST_TOKENS

REMINDER = {"type": "text", "text": "<system-reminder>\nUSD budget: 1/2\n</system-reminder>"}
ENVIRONMENT = "<system-reminder>\n# Environment\n - Primary working directory: /srv/shop\n - Platform: linux\n"


def reading(*messages: Any, headers: dict[str, str] | None = None, **more: Any) -> Asked:
    body = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": list(messages), **more}
    return read(json.dumps(body).encode(), headers or {})


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def result(step: str, said: str, round_: int = 1) -> dict[str, Any]:
    identifier = call_id(step, round_, 1, "0123456789abcdef")
    return {"type": "tool_result", "tool_use_id": identifier, "content": [text(said)]}


def test_a_first_turn_has_a_task_and_no_results() -> None:
    asked = reading(user(REMINDER, text("Fix the login.")), {"role": "system", "content": ENVIRONMENT})
    assert (asked.task, asked.asked, asked.has_results, asked.last_call) == (
        "Fix the login.",
        "Fix the login.",
        False,
        None,
    )
    assert asked.cwd == "/srv/shop"


def test_what_is_said_into_a_turn_is_what_was_asked_last() -> None:
    """Claude Code hands it on beside the tool's result; its other words in that place are no person's."""
    meanwhile = "The user sent a new message while you were working:\nStop now.\nReally.\n\nThis is how it is told."
    told = {"role": "system", "content": [text(meanwhile)]}
    asked = reading(user(text("go")), {"role": "system", "content": ENVIRONMENT}, user(result("read", "x")), told)
    assert (asked.task, asked.asked) == ("go", "Stop now.\nReally.")


def test_the_last_result_tells_the_step_that_asked_for_it() -> None:
    asked = reading(user(text("go")), user(result("read", "def f()")), user(result("edit", "done", round_=3)))
    assert asked.last_call == Call(step="edit", round=3)
    assert asked.result == "done"


def test_a_conversation_resumed_after_a_kill_stands_where_it_stood() -> None:
    """The agent writes an answer that the provider never gave, and a new message; the last result is the same."""
    before = [user(text("go")), {"role": "assistant", "content": "x"}, user(result("read", "def f()"))]
    made_up = [{"role": "assistant", "content": [text("[Request interrupted]")]}, user(text("Continue."))]
    killed, resumed = reading(*before), reading(*before, *made_up)
    assert resumed.last_call == killed.last_call == Call(step="read", round=1)
    assert (resumed.task, resumed.asked) == ("go", "Continue.")


def test_a_result_of_somebody_elses_call_is_no_step_of_ours() -> None:
    foreign = {"type": "tool_result", "tool_use_id": "toolu_01A2b3", "content": "x"}
    assert reading(user(text("go")), user(foreign)).last_call is None


@pytest.mark.parametrize(
    ("system", "headers"),
    [
        ("x-anthropic-billing-header: cc_version=2; cc_is_subagent=true;", {}),
        ("You are an agent for Claude Code, made for one task", {}),
        ("anything", {"x-claude-code-agent-id": "a1"}),
    ],
)
def test_a_subagent_is_known_by_its_header_or_by_its_prompt(system: str, headers: dict[str, str]) -> None:
    """A gateway may drop headers that it does not know."""
    assert reading(user(text("go")), system=system, headers=headers).is_subagent
    assert not reading(user(text("go")), system="You are Claude Code").is_subagent


def test_a_text_and_its_block_spell_the_same_prompt() -> None:
    """The agent turns the one into the other when its cache mark moves on."""
    marked = {**text("hello"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    plain, block = reading({"role": "user", "content": "hello"}), reading(user(marked))
    assert [(b.digest, b.tokens) for b in plain.blocks] == [(b.digest, b.tokens) for b in block.blocks]
    assert [b.mark for b in block.blocks] == ["1h"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"model":"m","max_tokens":1,"messages":[]}', "at least one message"),
        (b'{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}', "model: Field required"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}]}', "max_tokens: Field required"),
        (b'{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}', "greater than or equal to 1"),
        (b'{"model":"m","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}', "messages.0.role"),
        (
            b'{"model":"m","max_tokens":9,"thinking":{"type":"enabled","budget_tokens":9},"messages":[{"role":"user"}]}',
            "must be greater than `thinking.budget_tokens`",
        ),
    ],
)
def test_what_the_provider_would_not_take_is_refused_in_its_words(body: bytes, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        read(body, {})


words = st.text(max_size=60)
contents = st.lists(st.builds(text, words) | st.builds(lambda said: result("a", said), words), min_size=1, max_size=4)
schemas = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(st.builds(lambda parts: user(*parts), contents), min_size=1, max_size=5),
    tools=st.lists(st.builds(lambda schema: {"name": "t", "input_schema": schema}, schemas), max_size=4),
    is_ascii=st.booleans(),
)
def test_input_is_at_most_the_bytes_and_the_pads(messages: list[Any], tools: list[Any], *, is_ascii: bool) -> None:
    """The providers' law that every hold stands on (MONEY 2.1, 2.2), with the tightest tokenizer there is."""
    body = {"model": "m", "max_tokens": 1, "messages": messages, **({"tools": tools} if tools else {})}
    sent = json.dumps(body, ensure_ascii=is_ascii, separators=(",", ":")).encode()
    billed = sum(block.tokens for block in read(sent, {}, bytes_per_token=1).blocks) + REQUEST_TOKENS
    assert billed <= len(sent) + 256 + (1_024 if tools else 0)
