"""The usage chunk that a client did not ask for, and nothing else, is kept from it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire.openai_sieve import UsageSieve


def chunk(end: str = "\n\n", **fields: Any) -> bytes:
    """One chunk as the provider writes it."""
    text = json.dumps({"object": "chat.completion.chunk"} | fields, separators=(",", ":"))
    return f"data: {text}{end}".encode()


WORDS = chunk(choices=[{"delta": {"content": 'she said "usage" and "choices":[]'}, "finish_reason": None}], usage=None)
LAST = chunk(choices=[{"delta": {}, "finish_reason": "stop"}], usage=None)
USAGE = chunk(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 2})
DONE = b"data: [DONE]\n\n"


def passed(*chunks: bytes) -> bytes:
    """What a client gets of these bytes."""
    sieve = UsageSieve()
    return b"".join([sieve.feed(each) for each in chunks] + [sieve.close()])


def test_a_stream_step_by_step() -> None:
    """An event goes on at its end; the one with the usage alone never does."""
    sieve = UsageSieve()
    assert sieve.feed(WORDS[:10]) == b""
    assert sieve.feed(WORDS[10:]) == WORDS
    assert sieve.feed(LAST + USAGE[:20]) == LAST
    assert sieve.feed(USAGE[20:]) == b""
    assert sieve.feed(DONE) == DONE
    assert sieve.close() == b""


@pytest.mark.parametrize(
    "event",
    [
        b": keep-alive\n\n",
        chunk(choices=[], prompt_filter_results=[]),
        chunk(choices=[], usage=None),
        chunk(choices=[{"delta": {}}], usage={"prompt_tokens": 5}),
        b'data: {"usage": {oops\n\n',
        b'event: error\ndata: {"error":{"message":"x"}}\n\n',
        b"\n\n\n",
    ],
)
def test_everything_else_goes_on_as_it_came(event: bytes) -> None:
    """Comments, errors, filters, a usage beside an answer, and what cannot be read."""
    assert passed(WORDS, event, USAGE, DONE) == WORDS + event + DONE


def test_an_event_that_is_cut_goes_on_when_the_stream_ends() -> None:
    """The client sees what there was; half a usage is no usage."""
    assert passed(WORDS, LAST[:-5]) == WORDS + LAST[:-5]
    assert passed(WORDS, USAGE[:-1]) == WORDS


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([WORDS, LAST, USAGE, DONE, b"\n", b": x\n", b"data: y\n\n"]), max_size=6),
    st.lists(st.integers(0, 900), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_any_chunking_lets_the_same_bytes_through(events: list[bytes], cuts: list[int], end: bytes) -> None:
    """Wherever the network cuts, whatever ends a line."""
    stream = b"".join(events).replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert passed(*(stream[a:b] for a, b in pairwise(places))) == passed(stream)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([WORDS, LAST, DONE]), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_without_a_usage_chunk_is_not_touched(events: list[bytes], end: bytes) -> None:
    """Not one byte of it."""
    stream = b"".join(events).replace(b"\n", end)
    assert passed(stream) == stream


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([b'"usage"', b"\r", b"\n\n", b"data: {", b"}"]), st.binary(max_size=8))))
def test_no_bytes_make_the_sieve_fail(chunks: list[bytes]) -> None:
    """A provider may send anything."""
    assert len(passed(*chunks)) <= sum(map(len, chunks))
