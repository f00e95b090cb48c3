"""One name for the two spellings of a field."""

from __future__ import annotations

from typing import Any

import pytest

from crewcap.wire import Malformed
from crewcap.wire.gemini_fields import name_of, named, objects

KNOWN = frozenset({"maxOutputTokens", "topK", "tools"})


def test_both_spellings_are_one_field() -> None:
    """And what is not known keeps its name."""
    assert named({"max_output_tokens": 1, "topK": 2, "tools": 3, "x_y": 4}, KNOWN) == {
        "maxOutputTokens": 1,
        "topK": 2,
        "tools": 3,
        "x_y": 4,
    }
    assert name_of("top_k", KNOWN) == "topK"


def test_a_field_in_both_spellings_has_no_meaning() -> None:
    """Readers differ on which one counts."""
    with pytest.raises(Malformed, match='"maxOutputTokens" stands twice, in both of its spellings'):
        named({"maxOutputTokens": 1, "max_output_tokens": 1}, KNOWN)


@pytest.mark.parametrize(
    "key", ["MaxOutputTokens", "maxoutputtokens", "max_outputTokens", "MAX_OUTPUT_TOKENS", "_tools"]
)
def test_a_third_spelling_is_refused(key: str) -> None:
    """One reader may take it for the field, and another not."""
    with pytest.raises(Malformed, match="readers differ on such a name"):
        named({key: 1}, KNOWN)


def test_where_a_list_is_taken_one_object_is_too() -> None:
    """The vendor's own examples write it so."""
    assert objects({"a": 1}, "x") == objects([{"a": 1}], "x") == [{"a": 1}]
    wrong: list[Any] = [None, "a", 5, ["a"], [None]]
    for value in wrong:
        with pytest.raises(Malformed, match="x is not a list of objects"):
            objects(value, "x")
