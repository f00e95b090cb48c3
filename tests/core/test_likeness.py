"""Whether two texts say the same."""

from __future__ import annotations

import pytest

from crewcap.core.likeness import likeness


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9 passed in 0.02s", "9 passed in 1.13s"),
        ("at 2026-11-22T10:00:01.5Z", "at 2026-11-22T11:13:59Z"),
        ("12:00:01 red", "12:00:02 red"),
        ("<Shop object at 0x7f2918edef90>", "<Shop object at 0x7f92b66b4590>"),
    ],
)
def test_clocks_and_addresses_make_no_difference(one: str, other: str) -> None:
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1 failed", "2 failed"), ("a", "a "), ("x" * 70_000 + "a", "x" * 70_000 + "b"), ("exit 1", "exit 2")],
)
def test_everything_else_does(one: str, other: str) -> None:
    assert likeness(one) != likeness(other)


def test_texts_are_told_apart_by_where_they_end() -> None:
    assert likeness("ab", "c") != likeness("a", "bc")


def test_text_that_is_no_unicode_has_a_likeness_too() -> None:
    assert likeness("\udcff") == likeness("\udcff") != likeness("\udcfe")
