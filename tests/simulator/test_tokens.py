"""The tokenizer obeys the law: a prompt never counts more tokens than it has bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.simulator.tokens import IMAGE_TOKENS, spelled, tokens_of_block, tokens_of_bytes, tokens_of_tool

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(value=values, is_ascii=st.booleans())
def test_no_value_says_more_bytes_than_were_sent_for_it(value: Any, *, is_ascii: bool) -> None:
    """Also as short as JSON can be written, and with the tightest tokenizer of one byte a token."""
    sent = json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":")).encode("utf-8", "surrogatepass")
    assert spelled(json.loads(sent)) <= len(sent)
    assert tokens_of_block({"type": "text", "x": json.loads(sent)}, bytes_per_token=1) <= len(sent) + 20


@pytest.mark.parametrize("number", ["1e5", "0.1", "-0", "123456789012345678901234567890", "1E-7"])
def test_a_number_counts_as_it_was_written(number: str) -> None:
    """`1e5` is three bytes, however a program would print it."""
    assert spelled(json.loads(number, parse_float=str)) <= len(number)


def test_tokens_are_rounded_up() -> None:
    assert [tokens_of_bytes(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_picture_counts_the_same_however_large_it_is() -> None:
    """Also inside a tool result, where screenshots are."""
    picture = {"type": "image", "source": {"type": "base64", "data": "A" * 100_000}}
    assert tokens_of_block(picture) == IMAGE_TOKENS
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [picture, picture]}
    assert 2 * IMAGE_TOKENS < tokens_of_block(result) < 2 * IMAGE_TOKENS + 50


def test_a_tool_of_the_provider_brings_hidden_text() -> None:
    custom = {"name": "bash", "type": "custom"}
    own = {"name": "bash", "type": "bash_20250124"}
    assert tokens_of_tool(own, is_own=True) > tokens_of_tool(custom, is_own=False) + 600
