"""A name means a model only when it is spelled as that model's name, with nothing but an edition behind it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.prices.names import Directory, plain

KNOWN = Directory(
    [
        ("claude-opus-4-1", "opus-4-1"),
        ("claude-opus-4", "opus-4-0"),
        ("claude-sonnet-4-5", "sonnet-4-5"),
        ("claude-sonnet-5@", "sonnet-5"),
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("ft:gpt-3.5-turbo-", "tuned"),
    ]
)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-opus-4-1", "opus-4-1"),
        ("claude-opus-4-1-20250805", "opus-4-1"),
        ("claude-opus-4-20250514", "opus-4-0"),
        ("claude-sonnet-4-5-20250929", "sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "sonnet-4-5"),
        ("claude-sonnet-4-5-20250929-v1:0", "sonnet-4-5"),
        ("claude-sonnet-4-5-latest", "sonnet-4-5"),
        ("claude-sonnet-5@default", "sonnet-5"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("ft:gpt-3.5-turbo-", "tuned"),
    ],
)
def test_dated_and_latest_editions_are_the_model_itself(name: str, model: str) -> None:
    assert KNOWN.find(name) == model


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-10",  # begins like Opus 4.1
        "claude-opus-4-9",
        "claude-opus-4-1-fast",  # another price, by name
        "claude-sonnet-4-5-20250929-fast",
        "claude-sonnet-4-5-turbo",
        "claude-sonnet-4-50",
        "xclaude-sonnet-4-5",
        "us.anthropic.claude-sonnet-4-5",  # a region's price
        "gpt-4o-mini",
        "gpt-4o-audio-preview",
        "claude-sonnet-4-5-",
        "-20250929",
        "",
    ],
)
def test_what_only_begins_like_a_model_is_unknown(name: str) -> None:
    """A longer name may be a dearer model; guessing would price it at the cheaper one."""
    assert KNOWN.find(name) is None


@given(st.text(max_size=30))
def test_any_text_is_a_known_model_or_none(name: str) -> None:
    """Names come from strangers: nothing that they write raises."""
    assert KNOWN.find(plain(name)) in {None, "opus-4-1", "opus-4-0", "sonnet-4-5", "sonnet-5", "gpt-4o", "tuned"} | {
        "gpt-4o-2024-05-13"
    }


def test_a_name_of_a_megabyte_is_unknown_at_once() -> None:
    """Cutting it at each of its hundred thousand dashes would stop the gateway for minutes."""
    assert KNOWN.find("claude-sonnet-4-5" + "-20250929" * 100_000) is None


def test_the_long_context_mark_case_and_blanks_do_not_change_the_model() -> None:
    assert plain(" Claude-Sonnet-4-5[1m] ") == "claude-sonnet-4-5"


def test_an_undated_name_may_be_any_of_its_dated_editions_that_have_a_price_of_their_own() -> None:
    assert KNOWN.may_be("gpt-4o") == {"gpt-4o-2024-05-13"}
    assert KNOWN.may_be("gpt-4o-latest") == {"gpt-4o-2024-05-13"}
    assert KNOWN.may_be("gpt-4o-2024-05-13") == frozenset()
    assert KNOWN.may_be("claude-sonnet-4-5") == frozenset()


def test_the_nearest_known_name_is_offered() -> None:
    assert KNOWN.nearest("claude-sonet-4-5") == "claude-sonnet-4-5"
    assert KNOWN.nearest("sonet", others=["sonnet"]) == "sonnet"
    assert KNOWN.nearest("zzzzzz") == ""
