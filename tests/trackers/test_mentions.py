"""Lines for crewcap, in a text for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.commands import LONGEST
from crewcap.trackers.mentions import apart, numbered


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@crewcap retry", "retry"),
        ("   @CrewCap: budget +2  ", "budget +2"),
        ("@crewcap, also do that", "also do that"),
        ("@crewcap", ""),
        ("@crewcap\tgo on", "go on"),
        ("@crewcap st\u200bop", "stop"),
    ],
)
def test_a_line_that_begins_with_the_name_is_for_crewcap_and_no_part_of_the_text(line: str, said: str) -> None:
    assert apart(f"Fix it.\n{line}\nSoon.") == ("Fix it.\nSoon.", (said,))


@pytest.mark.parametrize(
    "line",
    [
        "    @crewcap stop",
        "> @crewcap stop",
        "- @crewcap stop",
        "ask @crewcap stop",
        "@crewcapper stop",
        "@crewcap-bot stop",
        "@crewcap/team stop",
        "crewcap stop",
        "`@crewcap stop`",
    ],
)
def test_code_quotations_and_other_names_are_text(line: str) -> None:
    assert apart(f"Fix it.\n\n{line}") == (f"Fix it.\n\n{line}", ())


def test_what_stands_between_fences_is_an_example() -> None:
    one = "```text\n@crewcap stop\n~~~\n```\n@crewcap retry\n"
    other = "~~~~\n@crewcap stop\n~~~\n@crewcap stop\n~~~~\n@crewcap go on"
    assert apart(one + other)[1] == ("retry", "go on")


def test_an_inline_piece_of_code_opens_no_fence() -> None:
    assert apart("```a``` is code\n@crewcap stop")[1] == ("stop",)


def test_the_same_words_are_told_apart_by_their_number_and_their_place() -> None:
    first, again, other = (id_ for id_, _ in numbered("a.md", ["+2", "+2", "+5"]))
    assert len({first, again, other, *dict(numbered("b.md", ["+2"]))}) == 4
    assert [id_ for id_, _ in numbered("a.md", ["+5", "+2"])] == [other, first]


@given(st.lists(st.sampled_from(["@crewcap stop", "text", "```", "~~~~", "", "@crewcap  a b"]), max_size=12))
def test_every_line_is_kept_or_said(lines: list[str]) -> None:
    text = "\n".join(lines)
    kept, said = apart(text)
    assert len(said) + len(kept.split("\n")) in {len(text.split("\n")), len(said) + 1}
    assert apart(kept)[1] == ()


def test_a_line_without_end_is_cut() -> None:
    assert len(apart("@crewcap " + "a " * 100_000)[1][0]) <= LONGEST
