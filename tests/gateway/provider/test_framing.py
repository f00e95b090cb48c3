"""Where the body of an answer ends, however its bytes are cut."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.gateway.provider.framing import BadFraming, Chunked, Framing, Inflating, Open, Sealed, Sized, unpacked

EVENT = b'event: ping\ndata: {"type": "ping"}\n\n'


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def read(framing: Framing, pieces: list[bytes]) -> bytes:
    return b"".join(framing.feed(piece) for piece in pieces)


def framed(chunks: list[bytes], *, size: str = "%x", end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join((size % len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks) + end


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
places = st.lists(st.integers(0, 300), max_size=12)


@settings(max_examples=60, deadline=None)
@given(chunks, places, st.sampled_from(["%x", "%X", "%04x", "%x;name=value", "%x  "]))
def test_a_chunked_body_is_the_same_in_whatever_pieces_it_comes(sent: list[bytes], at: list[int], size: str) -> None:
    framing = Chunked()
    assert read(framing, cut(framed(sent, size=size), at)) == b"".join(sent)
    assert framing.is_over
    assert not framing.has_overrun


@settings(max_examples=60, deadline=None)
@given(chunks, places)
def test_it_is_what_the_librarys_own_parser_reads(sent: list[bytes], at: list[int]) -> None:
    """Two readers of the same bytes agree."""

    async def theirs(data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        parser = HttpResponseParser(BaseProtocol(loop), loop, 2**16)
        (message,), _, _ = parser.feed_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)
        assert message[1].is_eof()
        return await message[1].read()

    data = framed(sent, end=b"0\r\nx-trailer: yes\r\n\r\n")
    assert read(Chunked(), cut(data, at)) == asyncio.run(theirs(data))


def test_an_event_that_comes_as_one_chunk_is_its_bytes() -> None:
    framing = Chunked()
    assert framing.feed(framed([EVENT], end=b"")) == EVENT
    assert framing.feed(framed([EVENT, EVENT])) == EVENT + EVENT
    assert framing.is_over


def test_what_comes_behind_an_answer_is_seen() -> None:
    """A line on which more came than was asked for is not used again."""
    behind: list[tuple[Framing, bytes]] = [(Chunked(), framed([EVENT]) + b"HTTP"), (Sized(2), b"yes")]
    for framing, data in behind:
        framing.feed(data)
        assert framing.is_over
        assert framing.has_overrun


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b"\r\n",
        b"5\r\nhello!\r\n",
        b"1" * 17,
        b"f" * 20000,
        b"5;" + b"a" * 20000,
        b"0\r\n" + b"a" * 20000,
    ],
)
def test_what_has_no_size_or_is_longer_than_it_has_no_end_that_anybody_knows(data: bytes) -> None:
    with pytest.raises(BadFraming):
        read(Chunked(), [*cut(data, [3, 9]), b"\r\n\r\n"])


@pytest.mark.parametrize(
    ("framing", "sent"),
    [(Chunked(), b""), (Chunked(), b"5\r\nhel"), (Chunked(), framed([EVENT], end=b"")), (Sized(9), b"hello")],
)
def test_a_connection_that_ends_inside_of_a_body_has_cut_it(framing: Framing, sent: bytes) -> None:
    framing.feed(sent)
    with pytest.raises(BadFraming):
        framing.close()


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    framing = Open()
    assert framing.feed(EVENT) == EVENT
    assert not framing.is_over
    assert framing.close() == b""
    assert framing.is_over


@pytest.mark.parametrize("size", [0, 5])
def test_a_body_of_known_length_is_over_with_its_last_byte(size: int) -> None:
    framing = Sized(size)
    assert framing.feed(b"hello"[:size]) == b"hello"[:size]
    assert framing.is_over
    assert framing.close() == b""


PACKED: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", PACKED)
def test_a_body_that_was_packed_unasked_is_read(encoding: str) -> None:
    packed = PACKED[encoding](EVENT * 50)
    framing = Inflating(Chunked(), encoding)
    assert read(framing, cut(framed([packed[:20], packed[20:]]), [7, 30])) == EVENT * 50
    assert framing.is_over


def test_what_cannot_be_unpacked_or_grows_too_much_is_refused() -> None:
    with pytest.raises(BadFraming, match="broken"):
        Inflating(Open(), "gzip").feed(b"no gzip")
    with pytest.raises(BadFraming, match="grows"):
        Inflating(Open(), "gzip").feed(gzip.compress(bytes(2**25)))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_body_packed_in_several_parts_is_all_of_them(size: int) -> None:
    """A server may pack each piece by itself (RFC 1952, section 2.2)."""
    packed = gzip.compress(EVENT) + gzip.compress(b"") + gzip.compress(EVENT * 2)
    framing = Inflating(Sized(len(packed)), "gzip")
    assert read(framing, cut(packed, list(range(0, len(packed), size)))) == EVENT * 3
    assert framing.is_over


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("missing", [1, 4, 8, 12])
def test_a_packed_body_without_its_end_was_cut(encoding: str, missing: int) -> None:
    """Its length is that of what came, so nothing but the packing tells."""
    packed = PACKED[encoding](EVENT * 50)[:-missing]
    with pytest.raises(BadFraming, match="cut"):
        Inflating(Sized(len(packed)), encoding).feed(packed)
    until_the_end = Inflating(Open(), encoding)
    until_the_end.feed(packed)
    with pytest.raises(BadFraming, match="cut"):
        until_the_end.close()


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("behind", [b"HTTP", b"\0\0", b"\x1f\x8b\x08"])
def test_what_follows_a_packed_body_makes_it_a_broken_one(encoding: str, behind: bytes) -> None:
    packed = PACKED[encoding](EVENT) + behind
    with pytest.raises(BadFraming):
        Inflating(Sized(len(packed)), encoding).feed(packed)


@pytest.mark.parametrize("encoding", PACKED)
def test_nothing_at_all_needs_no_packing(encoding: str) -> None:
    """An error without a body often names an encoding all the same."""
    framing = Inflating(Chunked(), encoding)
    assert read(framing, [b"0\r\n\r\n"]) == b""
    assert framing.is_over


def test_many_small_parts_grow_too_much_as_one_does() -> None:
    with pytest.raises(BadFraming, match="grows"):
        Inflating(Open(), "gzip").feed(gzip.compress(bytes(2**20)) * 40)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_of_a_body_in_another_encoding_only_the_end_is_known(encoding: str) -> None:
    framing, sealed_as = unpacked(Chunked(), encoding)
    assert isinstance(framing, Sealed)
    assert sealed_as == encoding
    assert read(framing, cut(framed([EVENT, EVENT]), [5, 50])) == b""
    assert framing.is_over
    assert not framing.has_overrun
    with pytest.raises(BadFraming):
        Sealed(Sized(5)).close()


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_body_in_no_encoding_is_read_as_it_is(encoding: str) -> None:
    plain = Open()
    assert unpacked(plain, encoding) == (plain, "")
