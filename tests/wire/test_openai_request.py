"""What requests to both of OpenAI's APIs have in common: how findings become a bound."""

from __future__ import annotations

from typing import Any

import pytest

from crewcap.core.asks import Bound
from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed, openai_request
from crewcap.wire import openai_known as known
from crewcap.wire.openai_request import MOST_CALLS, PAD, PAD_TOOLS, Found, PartForms, Rules

FORMS = PartForms(known.RESPONSES_PARTS, known.COSTLY_RESPONSES_PARTS)


def test_findings_become_a_bound() -> None:
    """The bytes without those of images, and a pad that counts tools once however many lists of them there are."""
    found = Found()
    for _ in range(3):
        openai_request.read_tools([{"type": "function", "name": "t"}], "tools", found)
    openai_request.read_parts([{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}], "it", FORMS, found)
    assert found.bound(1_000) == Bound(text_bytes=1_000 - 26, pad=PAD + PAD_TOOLS, images=1)


def test_runs_of_the_model_multiply() -> None:
    """Each use of a hosted tool is one more, and all that may happen again after a compaction."""
    found = Found(allow=frozenset({"web_search"}))
    openai_request.read_tools([{"type": "web_search"}, {"type": "web_search_2025_08_26"}], "tools", found)
    openai_request.bound_calls({"max_tool_calls": 2}, found)
    openai_request.judge_costly("field", "context_management", known.Costly("why", "twice"), found)
    assert found.samplings == 6
    assert found.pieces == {"web_search": 2}


@pytest.mark.parametrize("most", [None, -1, MOST_CALLS + 1, 1.0, "3", True])
def test_a_bound_of_calls_must_be_one(most: Any) -> None:
    """Else no hold covers them; without hosted tools nobody asks."""
    found = Found(allow=frozenset({"file_search"}))
    openai_request.bound_calls({"max_tool_calls": most}, found)
    assert not found.refusals
    openai_request.read_tools([{"type": "file_search"}], "tools", found)
    openai_request.bound_calls({"max_tool_calls": most}, found)
    assert len(found.refusals) == 1


def test_what_the_unknown_could_be_is_anything() -> None:
    """Where it is allowed it still is."""
    found = Found(allow=frozenset({"x"}))
    found.unknown("field", "x")
    assert found.whole_window
    assert not found.refusals
    found.unknown("field", "y")
    assert found.refusals


def test_a_tool_needs_a_type() -> None:
    """Even a function says that it is one."""
    with pytest.raises(Malformed, match="type is missing"):
        openai_request.read_tools([{"name": "t"}], "tools", Found())


def test_a_deferred_definition_may_say_so_in_either_place() -> None:
    """Beside the function or inside it."""
    for tool in (
        {"type": "function", "defer_loading": True},
        {"type": "function", "function": {"defer_loading": True}},
    ):
        found = Found()
        openai_request.read_tools([tool], "tools", found)
        assert found.pad > PAD


def test_a_tier_is_held_with_what_it_may_fall_back_to() -> None:
    """The dearest stands first: an answer that does not name its tier is billed at it."""
    for tier, words in known.SERVED_AS.items():
        assert openai_request.modifiers(Rules(tier=tier, geo="eu")) == tuple(
            Modifiers(tier=word, geo="eu") for word in words
        )
