"""Events cut out of a stream in any chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire import sse


def events(chunks: list[bytes]) -> list[sse.Event]:
    """All events of a stream, fed chunk by chunk; blocks without data are comments."""
    splitter = sse.Splitter()
    blocks = [block for chunk in chunks for block in splitter.feed(chunk)] + splitter.close()
    return [event for event in map(sse.read, blocks) if event.data]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_a_line_end(end: bytes) -> None:
    """Line feed, carriage return and both together mean the same."""
    stream = end.join([b": hello", b"", b"event: a", b"data: 1", b"data:2", b"id: 7", b"", b"data: 3", b"", b""])
    assert events([stream]) == [sse.Event(b"a", b"1\n2"), sse.Event(b"", b"3")]


def test_only_one_space_after_the_colon_is_taken_off() -> None:
    """What comes after is data."""
    assert events([b"data:  x\n\n"]) == [sse.Event(b"", b" x")]


def test_the_last_event_counts_without_its_empty_line() -> None:
    """The last thing a provider says may be the bill."""
    assert events([b"data: 1\n\nevent: e\ndata: 2"]) == [sse.Event(b"", b"1"), sse.Event(b"e", b"2")]


def test_an_event_is_given_out_when_its_empty_line_is_seen() -> None:
    """Nothing waits for the next chunk when the event is complete."""
    splitter = sse.Splitter()
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.feed(b"\n") == [b"data: 1"]
    assert splitter.feed(b"data: 2\n\ndata: 3\n\nda") == [b"data: 2", b"data: 3"]


LINES = st.sampled_from([b"data: {}", b"data:x", b"event: e", b": ping", b"", b"", b"nonsense", b"data: \xff\xf0"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(LINES, ENDS), max_size=14), st.lists(st.integers(0, 80), max_size=8))
def test_any_chunking_gives_the_same_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """Where the network cuts does not matter."""
    stream = b"".join(line + end for line, end in lines)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert events([stream[a:b] for a, b in pairwise(places)]) == events([stream])


def test_a_long_event_in_small_pieces_is_read_in_linear_time() -> None:
    """Four megabytes in chunks of 64 bytes: the search goes on where it stopped."""
    splitter = sse.Splitter()
    for _ in range(65_536):
        assert not splitter.feed(b"x" * 64)
    assert len(splitter.feed(b"\n\n")[0]) == 4_194_304


def test_between_two_events_nothing_is_kept() -> None:
    """Whoever looks for words in a chunk that begins there and ends so has seen every event in it."""
    splitter = sse.Splitter()
    states = []
    for chunk in (b"data: a\n\n", b"data: b", b"\n", b"\n", b"data: c\n\n\r", b"\ndata: d\n\n"):
        splitter.feed(chunk)
        states.append(splitter.is_between)
    assert states == [True, False, False, True, False, True]
