"""Answers are read as far as they can be, and doubted where they cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire import provider_json
from crewcap.wire.provider_json import Doubts


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": Infinity}', {"a": float("inf")}),
        (b"{oops", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_json_is_decoded_however_badly_it_is_written(data: bytes, value: Any) -> None:
    """None where it is no JSON at all."""
    assert provider_json.decode(data) == value


@pytest.mark.parametrize(
    ("value", "count", "doubt"),
    [
        (5, 5, ""),
        (0, 0, ""),
        (-5, None, "n is -5"),
        (10**18, None, "n is 1000000000000000000"),
        (True, None, "n is true"),
        (1.5, 2, "n is 1.5"),
        ("9", 9, 'n is "9"'),
        ("many", None, 'n is "many"'),
        ([5], None, "n is a list"),
        (float("nan"), None, "n is NaN"),
    ],
)
def test_a_figure_is_believed_or_doubted(value: Any, count: int | None, doubt: str) -> None:
    """Better charged and doubted than lost."""
    doubts = Doubts()
    assert doubts.count(value, "n") == count
    assert str(doubts) == doubt


def test_doubts_are_said_once_and_do_not_grow_for_ever() -> None:
    """A hostile stream may give a million reasons."""
    doubts = Doubts()
    for number in range(100):
        doubts.add("the same")
        doubts.add(str(number))
    assert doubts.sentences[:2] == ["the same", "0"]
    assert len(doubts.sentences) == 10


def test_the_providers_words_are_kept_short() -> None:
    """For the audit, one row each."""
    assert provider_json.shown({"a": [1]}) == '{"a":[1]}'
    assert len(provider_json.shown({"a": "x" * 99_999})) == 8_192
    assert provider_json.word(5) == ""


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text()), lambda x: st.lists(x, max_size=3)))
def test_what_is_json_is_read_as_json(value: Any) -> None:
    """The quick way and the patient way agree."""
    assert provider_json.decode(json.dumps(value).encode()) == value
