"""The sentences of a refusal."""

from __future__ import annotations

from crewcap.wire import refusals


def test_a_refusal_ends_in_its_remedy() -> None:
    """A line that can be pasted, or the advice that helps."""
    assert refusals.may_be_allowed('the field "x"', "brings more", "x") == (
        'the field "x" brings more, so capped keys may not use it; to let them: [gateway] allow = ["x"]'
    )
    assert refusals.has_no_hold('the field "x"', "never ends") == (
        'the field "x" never ends, so no hold can cover it; use a key without a cap'
    )
    assert refusals.unknown("field", 'a"b').endswith('[gateway] allow = ["a\\"b"]')


def test_a_long_name_does_not_fill_the_sentence() -> None:
    """It comes from the request."""
    assert len(refusals.quoted("x" * 1_000)) < 100
    assert len(refusals.unknown("field", "x" * 1_000)) < 400
