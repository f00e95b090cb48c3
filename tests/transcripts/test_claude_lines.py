"""Many lines at once are read as each alone would be, and the short way of reading one comes to what the long one says.

What is tried are lines that the real agent wrote, and others, with their keys in any order, keys of bills where none
belong, bytes taken out, put in and glued together.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Sink, claude_code
from crewcap.transcripts.claude_code import NEEDLE, ClaudeCode
from crewcap.transcripts.claude_odd import take_odd
from crewcap.wire import lenient

from .test_claude_code import RECORDED, line

_STATE = {"path": "/logs/session.jsonl", "mtime_ms": 4_000_000_000_000}


@cache
def real_lines() -> tuple[bytes, ...]:
    """Everything that the real agent wrote, and a few of our own."""
    files = sorted((RECORDED / "claude").rglob("*.jsonl"))
    ours = (
        line(3),
        line(90),
        line(90, requestId=None),
        line(90, message={"model": "claude-opus-4-8"}),
        line(7, message={"id": ""}),
        line(8, message={"id": None}, uuid="u1"),
        line(9, message={"model": "<synthetic>"}),
        line(5, timestamp="2026-11-20T09:59:59.5Z", sessionId="earlier"),
        line(5, timestamp="2026-11-20T09:59:59", sessionId="without a zone"),
        line(5, timestamp=None),
        line(90, usage={"input_tokens": 6}),
        line(90, usage={"input_tokens": None, "cache_read_input_tokens": None}),
        json.dumps({"type": "progress", "sessionId": "main", "data": {"message": json.loads(line(91))}}) + "\n",
        json.dumps({"type": "user", "message": {"role": "user", "content": line(10**6)}}) + "\n",
    )
    return tuple(
        raw for text in [*(file.read_bytes() for file in files), *map(str.encode, ours)] for raw in text.splitlines()
    )


def read(*lines: bytes, at_once: bool = True) -> Sink:
    """What is told of some lines, in one block or in one for each."""
    sink = Sink()
    for text in [b"\n".join(lines)] if at_once else lines:
        data = bytearray(text)
        ClaudeCode().read(Block(data, 0, len(data)), dict(_STATE), sink)
    return sink


def the_long_way(raw: bytes) -> list[Told]:
    """The same line, read as a provider's answer is."""
    sink = Sink()
    for each in raw.split(b"\n"):
        if NEEDLE in each:
            take_odd(each, dict(_STATE), sink)
    return list(sink.told.values())


def lines_of(some: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(some, max_size=8)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real line that was cut, or into which bytes were written, or to which another was glued."""
    raw = draw(st.sampled_from(real_lines()))
    start, stop = sorted((draw(st.integers(0, len(raw))), draw(st.integers(0, len(raw)))))
    into = draw(st.one_of(
        st.just(b""), st.binary(max_size=5), st.sampled_from(real_lines()),
        st.sampled_from([b'"', b"\\", b"}", b"]", b'"}', b"\0", b"\xff", b'"usage":{"input_tokens":1},', b"{" * 2_000]),
    ))  # fmt: skip
    return (raw[:start] + into + raw[stop:]).replace(b"\n", b"")


def shuffled(value: Any, draw: st.DrawFn) -> Any:
    """The same with its keys in another order, and now and then one that looks like a bill's."""
    if isinstance(value, list):
        return [shuffled(each, draw) for each in value]
    if not isinstance(value, dict):
        return value
    names = draw(st.permutations(list(value)))
    made = {name: shuffled(value[name], draw) for name in names}
    if draw(st.integers(0, 9)) == 0:
        made.setdefault("usage", {"input_tokens": 1, "output_tokens": 10**6})
    return made


@st.composite
def rearranged(draw: st.DrawFn) -> bytes:
    """A real line with its keys in any order, written with or without spaces, and one key twice."""
    said = shuffled(json.loads(draw(st.sampled_from(real_lines()))), draw)
    raw = json.dumps(said, separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\t")])))
    twice = draw(st.sampled_from(["", '"requestId":"req_2"', '"message":{}', '"message":null', '"cwd":"/tmp"']))
    return (f"{raw[:-1]},{twice}}}" if twice and len(raw) > 2 else raw).encode()


ANY_LINE = st.one_of(st.sampled_from(real_lines()), damaged(), rearranged(), st.binary(max_size=40))


@settings(max_examples=200, deadline=None)
@given(lines_of(ANY_LINE))
def test_lines_at_once_are_read_as_each_alone(lines: list[bytes]) -> None:
    """A broken one between them takes nothing from its neighbours, and gives them nothing."""
    together, alone = read(*lines), read(*lines, at_once=False)
    assert together.told.keys() == alone.told.keys()
    for key, told in together.told.items():
        assert told[6:] == alone.told[key][6:]
        assert told.at == alone.told[key].at


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.sampled_from(real_lines()), damaged(), rearranged()))
def test_the_short_way_says_what_the_long_way_says(raw: bytes) -> None:
    assert list(read(raw).told.values()) == the_long_way(raw)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(real_lines()), st.integers(0, 10_000), st.sampled_from(real_lines()))
def test_a_torn_line_lends_nothing_to_the_one_that_is_glued_to_it(torn: bytes, cut: int, whole: bytes) -> None:
    """Its id and model stand before the cut, another message's bill behind it: it is nobody's."""
    raw = torn[: cut % len(torn)] + whole
    if raw not in real_lines():
        assert not read(raw).told or lenient.parsed(raw) is not None


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
def test_a_line_that_is_nested_too_deep_is_read_or_told_and_stops_nobody(depth: int) -> None:
    deep = line().encode().replace(b'"role":', b'"content":' + b"[" * depth + b"]" * depth + b',"role":')
    sink = read(deep, line(7, message={"id": "msg_2"}).encode())
    assert "claude:msg_2:req_1" in sink.told
    assert len(sink.told) + sum(sink.problems.values()) == 2


def test_values_that_share_a_line_or_span_several_are_no_lines() -> None:
    """A line is one value: two that stand on one, or one on two, are torn, and count for nothing."""
    one, other = line(3).strip().encode(), line(4, message={"id": "msg_2"}).strip().encode()
    assert read(one + other).problems == {"torn: no JSON": 1}
    spread = one.replace(b'"usage":', b'\n"usage":')
    assert (read(spread).told, read(one + other).told) == ({}, {})


def test_a_line_of_fifty_megabytes_is_a_line() -> None:
    text = b'"text":"' + b'say \\"usage\\":{\\"input_tokens\\":1} ' * 1_500_000 + b'",'
    (told,) = read(line(30).encode().replace(b'"role":', text + b'"role":')).told.values()
    assert told.output == 30


def test_a_naive_time_is_one_of_utc_beside_others_of_its_message() -> None:
    naive, aware = line(5, timestamp="2026-11-20T09:00:00"), line(6, timestamp="2026-11-20T10:00:00Z")
    (told,) = read(naive.encode(), aware.encode()).told.values()
    assert (told.output, told.at) == (6, 1_795_165_200_000)


def test_a_usage_that_does_not_say_what_went_in_is_no_bill() -> None:
    said = json.loads(line(9))
    said["message"]["usage"] = {"output_tokens": 9}
    elsewhere = {**said, "toolUseResult": {"usage": {"input_tokens": 5}}}
    assert read(*(json.dumps(each).encode() for each in (said, elsewhere))).told == {}


def test_the_most_that_a_figure_may_be_is_what_the_meters_take() -> None:
    assert claude_code.MOST_TOKENS == lenient.MOST_TOKENS


def test_a_tool_that_nobody_knows_is_billed_by_the_piece_and_has_no_price() -> None:
    """An hour of it may cost anything: it is told with the message, which is then in no sum."""
    (told,) = read(
        line(9, usage={"server_tool_use": {"web_search_requests": 2, "oracle_requests": 3}}).encode()
    ).told.values()
    assert (told.searches, json.loads(told.parts)["pieces"]) == (2, {"oracle": 3})
    assert read(line(9, usage={"server_tool_use": {"oracle_requests": 0}}).encode()).told == read(line(9).encode()).told
