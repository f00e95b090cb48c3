"""The head of an issue file."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.errors import UsageError
from crewcap.trackers.frontmatter import Head, split


def head(*lines: str, fence: str = "---") -> Head:
    found, body = split("\n".join([fence, *lines, fence, "body"]), where="a.md")
    assert body == "body"
    return found


def test_simple_lines_say_title_labels_cap_and_author() -> None:
    said = head('title: "Login: fails"', "labels: [bug, 'chore']", "cap: 2.50   # may only lower", "author: ana")
    assert said == Head(title="Login: fails", labels=("bug", "chore"), cap=Money.usd("2.50"), author="ana")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'"a \"b\" c"  # why', 'a "b" c'),
        (r'"a\\"', "a\\"),
        (r'"C:\\dir \x41\u00e9\U0001F600\/"', "C:\\dir A\u00e9\U0001f600/"),
        (r'"two\nlines\tand"', "two lines and"),
        (r'"no \q, no \ud800"', r"no \q, no \ud800"),
        ("'it''s \\n'", "it's \\n"),
        ('"never ends', '"never ends'),
        ('""', ""),
        ('say "b"', 'say "b"'),
    ],
)
def test_quotes_mean_what_they_mean_in_yaml(written: str, read: str) -> None:
    assert head(f"title: {written}").title == read


def test_toml_says_the_same() -> None:
    said = head('title = "Login"', 'labels = ["bug"]', "cap = 2.50", 'author = "ana"', fence="+++")
    assert said == Head(title="Login", labels=("bug",), cap=Money.usd("2.50"), author="ana")


@pytest.mark.parametrize(
    "lines",
    [
        ("labels: bug, chore",),
        ("labels: [bug,chore]",),
        ("labels:", "  - bug", "  - chore"),
        ("labels:", "- bug", "- 'chore' # why"),
    ],
)
def test_labels_are_written_in_any_of_the_usual_ways(lines: tuple[str, ...]) -> None:
    assert head(*lines).labels == ("bug", "chore")


def test_an_unknown_key_is_named_and_does_no_harm() -> None:
    """Other tools keep their own keys in the same head, nested ones too."""
    said = head("priority: high", "estimate:", "  points: 3", "  tags:", "    - x", "title: T")
    assert said.title == "T"
    assert said.notes == (
        "its head says 'priority', which crewcap does not use",
        "its head says 'estimate', which crewcap does not use",
    )


@pytest.mark.parametrize("text", ["no head\n", "", "# Title\n---\ncap: 1\n---\n", "-- -\ncap: 1\n---\n"])
def test_a_text_without_a_head_is_all_text(text: str) -> None:
    assert split(text, where="a.md") == (Head(), text)


def test_a_rule_of_dashes_around_a_sentence_is_no_head() -> None:
    text = "---\nplease fix this\n---\nrest"
    assert split(text, where="a.md") == (Head(), text)


def test_a_head_that_never_ends_is_read_as_text_and_said() -> None:
    said, body = split("---\ncap: 1\n\nText.", where="a.md")
    assert said.cap is None
    assert "no second one follows" in said.notes[0]
    assert body == "---\ncap: 1\n\nText."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cap: 5,00", r"a\.md: cap: '5,00' is not an amount of money; did you mean 5\.00\?"),
        ("cap: NaN", "is not an amount of money"),
        ("cap: -1", "it cannot be negative"),
        ("cap: 0", "a cap of 0 refuses every request"),
        ("cap: [1]", "is not an amount of money"),
        ("cap:", "is not an amount of money"),
        ("cap 2.00", r"a\.md:3: 'cap 2\.00' is not `key: value`"),
        ("title: again", r"a\.md:3: 'title' is said twice"),
        ("x" * 5_000, r"goes on for 5,000 letters; a line of the head has at most 1,000"),
    ],
)
def test_what_could_have_been_a_cap_is_never_passed_over(line: str, message: str) -> None:
    """A mistyped cap that is silently ignored would spend the default."""
    with pytest.raises(UsageError, match=message):
        head("title: T", line)


def test_a_title_that_is_too_long_is_refused_for_that() -> None:
    with pytest.raises(UsageError, match=r"a\.md:2: 'title: A+\.*' goes on for 10,007 letters; .* at most 1,000$"):
        head(f"title: {'A' * 10_000}")


def test_money_may_carry_its_sign() -> None:
    assert head("cap: $2").cap == Money.usd(2)


def test_wrong_toml_is_one_line_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"a\.md: its head is not TOML: .*line 1"):
        head("cap = = 2", fence="+++")
    for wrong in ("1e3", "true", "[1]"):
        with pytest.raises(UsageError, match="is not an amount of money"):
            head(f"cap = {wrong}", fence="+++")


@given(st.text(alphabet="abc:-#[]'\", \t\n0.$", max_size=80))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(UsageError):
        split("---\n" + text + "\n---\nbody", where="a.md")


def test_a_long_odd_head_is_read_quickly() -> None:
    """No pattern of ours may take the square of a text's length."""
    began = time.perf_counter()
    with pytest.raises(UsageError):
        split("---\na: b\n" + "a " * 300_000 + "\n---\n", where="a.md")
    assert time.perf_counter() - began < 2
