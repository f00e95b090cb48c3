"""JSON read without guessing, edited by place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire import Malformed, strict_json

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


def loose(value: Any, *, ascii_only: bool, spaced: bool) -> bytes:
    """The same value with other white space and escapes."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=3 if spaced else None)
    return (" \r\n\t" + text + "\n" if spaced else text).encode()


@settings(max_examples=100, deadline=None)
@given(OBJECTS, st.booleans(), st.booleans())
def test_what_was_written_is_what_is_read(value: dict[str, Any], ascii_only: bool, spaced: bool) -> None:  # noqa: FBT001  (drawn)
    """Reading is the inverse of writing, however it was written."""
    assert strict_json.parse(loose(value, ascii_only=ascii_only, spaced=spaced)).value == value


@settings(max_examples=100, deadline=None)
@given(OBJECTS, st.booleans(), st.booleans())
def test_the_place_of_every_member_is_found(value: dict[str, Any], ascii_only: bool, spaced: bool) -> None:  # noqa: FBT001  (drawn)
    """The bytes between a member's start and end are its value, and nothing else."""
    body = loose(value, ascii_only=ascii_only, spaced=spaced)
    places = list(strict_json.members(body))
    assert {member.name: json.loads(body[member.start : member.end]) for member in places} == value


@settings(max_examples=100, deadline=None)
@given(OBJECTS, st.booleans(), st.booleans())
def test_splicing_changes_the_named_members_and_nothing_else(
    value: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001  (drawn)
    spaced: bool,  # noqa: FBT001  (drawn)
) -> None:
    """A member is replaced where it stands, or added at the end; every other byte is as received."""
    body = loose(value, ascii_only=ascii_only, spaced=spaced)
    spliced = strict_json.splice(body, {"max_tokens": b"17"})
    assert json.loads(spliced) == value | {"max_tokens": 17}
    kept = [(m.name, body[m.start : m.end]) for m in strict_json.members(body) if m.name != "max_tokens"]
    now = [(m.name, spliced[m.start : m.end]) for m in strict_json.members(spliced) if m.name != "max_tokens"]
    assert kept == now


def test_only_the_top_level_member_is_spliced() -> None:
    """A tool call in the history may hold a field of the same name."""
    body = b'{ "messages": [{"max_tokens": 5}], "max\\u005ftokens" : 9 , "x":{"max_tokens":1} }'
    assert strict_json.splice(body, {"max_tokens": b"3"}) == body.replace(b": 9 ,", b": 3 ,")


def test_picking_keeps_the_named_members_as_received() -> None:
    """The count call gets the fields that it takes, byte for byte."""
    body = b'{"a": 1.50, "b":[ 1 ], "c":"\\u00e9"}'
    assert strict_json.pick(body, frozenset({"b", "c", "d"})) == b'{"b":[ 1 ],"c":"\\u00e9"}'


def test_every_object_at_any_depth_is_listed() -> None:
    """Whoever looks for a mark does not have to walk the tree again."""
    document = strict_json.parse(b'{"a":[{"b":{"c":1}},[[{"d":2}]]]}')
    assert [sorted(each) for each in document.objects] == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"a":1', "not JSON"),
        (b'{"a":1}{"b":2}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8 (byte 6)"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":1,"a":1}', "'a' stands twice"),
        (b'{"x":[{"a":1,"b":2,"\\u0061":1}]}', "'a' stands twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"a":{"\\uDFFF":1}}', "lone surrogate"),
        (b'{"a":"\n"}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":' + b"9" * 5_000 + b"}", "too many digits"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 100"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper than 100"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "deeper than 100"),
    ],
)
def test_what_readers_disagree_about_is_refused(body: bytes, why: str) -> None:
    """Whatever one parser may read otherwise than another is answered 400 with the reason."""
    with pytest.raises(Malformed, match=why.replace("(", r"\(").replace(")", r"\)")):
        strict_json.parse(body)


def test_a_hundred_levels_and_whole_pairs_are_fine() -> None:
    """The limit is the limit, and a surrogate pair is one character."""
    body = b'{"a":' + b"[" * 99 + b"]" * 99 + b',"b":"\\ud83d\\ude00"}'
    assert strict_json.parse(body).value["b"] == "😀"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text('{}[]",:\\ud8 naN1', max_size=60).map(str.encode)))
def test_nothing_but_malformed_comes_out_of_bad_bytes(body: bytes) -> None:
    """Any bytes are either an object or one clear sentence."""
    try:
        value = strict_json.parse(body).value
    except Malformed as error:
        assert str(error)  # noqa: PT017  (either way is right)
    else:
        assert json.loads(body) == value
