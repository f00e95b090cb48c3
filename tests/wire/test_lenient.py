"""What a provider tells, read however badly it is written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from crewcap.wire import lenient


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b"[1]", [1]),
        (b"{", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_whatever_is_json_at_all_is_read(data: bytes, value: Any) -> None:
    """Also with letters that are broken."""
    assert lenient.parsed(data) == value


def test_not_a_number_is_read_and_is_no_count() -> None:
    """It must not hide the figures beside it."""
    said = lenient.parsed(b'{"a":NaN,"b":2}')
    assert math.isnan(said["a"])
    assert (lenient.is_count(said["a"]), lenient.is_count(said["b"])) == (False, True)


@pytest.mark.parametrize(
    ("value", "least"),
    [("9", 9), (1.5, 2), (-1, None), (True, None), ([], None), ("x", None), (math.nan, None), (10**400, None)],
)
def test_a_bad_figure_counts_as_the_least_that_it_can_mean(value: Any, least: int | None) -> None:
    """Or as nothing, where it means nothing."""
    assert not lenient.is_count(value)
    assert lenient.least_count(value) == least


def test_the_audit_keeps_so_much_and_no_more() -> None:
    """A hostile usage does not fill the ledger."""
    assert lenient.shown({"a": 1}) == '{"a":1}'
    assert len(lenient.shown({"a": "x" * 100_000})) == lenient.MOST_RAW_USAGE
    assert lenient.shown({"a": math.nan, "b": None}) == '{"a":NaN,"b":null}'
    assert lenient.shown({"a": "\ud800"}) == '{"a":"\\ud800"}'
    assert (lenient.word("x"), lenient.word(5)) == ("x", "")
    assert (lenient.short("x" * 100), lenient.short([])) == ('"' + "x" * 39, "a list")


BILL = lenient.Figures(b'"usage"', (b'"out"', b'"cached_tokens"'))


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        (b'{"usage":{"out":5,"out":1}}', {"out": 5}),
        (b'{"usage":{"out":1,"out":5}}', {"out": 5}),
        (b'{"usage":{"cached_tokens":5,"cached_tokens":1}}', {"cached_tokens": 1}),
        (b'{"usage":{"out":5},"usage":{"out":1,"in":2}}', {"out": 5, "in": 2}),
        (b'{"usage":{"out":5},"usage":null}', {"out": 5}),
        (b'{"usage":{"out":5},"usage":{"out":1},"usage":{"out":5}}', {"out": 5}),
        (b'{"usage":{"of":{"out":5}},"usage":{"of":{"out":1}}}', {"of": {"out": 5}}),
        (b'{"usage":{"all":[{"out":5,"out":1}]}}', {"all": [{"out": 5}]}),
        (b'{"usage":{"out":5,"\\u006fut":1}}', {"out": 5}),
        (b'{"us\\u0061ge":{"out":5},"us\\u0061ge":{"out":1}}', {"out": 5}),
        (b'{"usage":{"out":5,"out":"1"}}', {"out": 5}),
    ],
)
def test_of_a_figure_that_is_said_twice_the_dearer_one_counts_and_it_is_told(said: bytes, usage: Any) -> None:
    found = lenient.bill(said, BILL)["usage"]
    assert found == usage
    assert lenient.is_contradictory(found)


@pytest.mark.parametrize(
    "said",
    [
        b'{"usage":{"out":5}}',
        b'{"usage":{"out":5,"out":5}}',
        b'{"usage":{"out":5},"usage":{"out":5}}',
        b'{"content":{"usage":{"out":1}},"usage":{"out":5}}',
        b'{"content":{"out":1,"out":2},"usage":{"out":5}}',
        b'{"usage":{"out":5},"name":"\\u00e9"}',
    ],
)
def test_what_agrees_or_is_no_part_of_the_usage_is_no_contradiction(said: bytes) -> None:
    found = lenient.bill(said, BILL)["usage"]
    assert found == {"out": 5}
    assert not lenient.is_contradictory(found)


def test_a_bill_that_is_no_json_is_none() -> None:
    assert lenient.bill(b'{"usage":{"out":5,"out":', BILL) is None
    assert lenient.bill(b'{"usage":' * 100_000 + b'"out","out"', BILL) is None
