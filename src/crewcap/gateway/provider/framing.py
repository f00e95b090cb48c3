r"""Where the body of an HTTP answer ends, and what of the bytes is the body (RFC 9112, sections 6 and 7).

    chunked   size in hex, line end, so many bytes, line end, ... a chunk of size 0, trailers, an empty line
    sized     so many bytes as the head says
    open      whatever comes until the connection ends

Sans-I/O, and fed in any pieces. Events of a stream come as whole chunks, nearly always one at a time, so those forms
are read at once. What is not framed as it should be raises `BadFraming`: nobody knows where such an answer ends.
"""

from __future__ import annotations

import re
import zlib
from typing import Protocol

LONGEST_LINE = 2**14  # a size with its extensions, or all trailers
MOST_INFLATED = 2**24  # bytes out of one piece; more than that is a bomb
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LINE_END = re.compile(rb"\r?\n")
PLAIN = frozenset({"", "identity"})
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 47}


class BadFraming(ConnectionError):
    """The provider's answer is not framed as HTTP is."""


class Unreadable(BadFraming):
    """The provider has answered, and this is why nobody can tell what; the same request would be answered alike."""


class Framing(Protocol):
    """Reads one body."""

    @property
    def is_over(self) -> bool:
        """The last byte was seen."""
        ...

    @property
    def has_overrun(self) -> bool:
        """Something was fed that lies behind it."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those of the body."""
        ...

    def close(self) -> bytes:
        """The connection has ended; `BadFraming` where the body has not."""
        ...


class Chunked:
    """A body in chunks; what comes behind it is nobody's."""

    def __init__(self) -> None:
        self.is_over = False
        self.has_overrun = False
        self._rest = b""  # a line that is not whole yet
        self._left = 0  # bytes of the chunk that are still to come
        self._ends_line = False  # a chunk was read, and its line end is to come
        self._in_trailers = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those of the body."""
        if self._left or self._rest or self._ends_line or self._in_trailers or self.is_over:
            return self._read(data)
        found = _SIZE.match(data)
        if found is not None and data.endswith(b"\r\n") and 0 < int(found[1], 16) == len(data) - found.end() - 2:
            return data[found.end() : -2]
        parts, at = _whole_chunks(data)
        if at < len(data):
            parts.append(self._read(data[at:]))
        return b"".join(parts)

    def close(self) -> bytes:
        """A body that has no end was cut."""
        raise BadFraming("the connection ended inside of the answer")

    def _read(self, data: bytes) -> bytes:
        """As it is written, piece by piece."""
        data, self._rest = self._rest + data, b""
        parts, at = list[bytes](), 0
        while at < len(data) and not self.is_over:
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                self._left -= len(part)
                self._ends_line = not self._left
                at += len(part)
            elif (after := self._line(data, at)) is None:
                self._keep(data[at:])
                break
            else:
                at = after
        self.has_overrun = self.is_over and at < len(data)
        return b"".join(parts)

    def _line(self, data: bytes, at: int) -> int | None:
        """One line, whatever it is for: where it ends, or None while it is not whole."""
        if self._ends_line or self._in_trailers:
            end = _LINE_END.search(data, at)
            if end is None:
                return None
            if self._ends_line and end.start() != at:
                raise BadFraming("a chunk is longer than its size")
            self.is_over = self._in_trailers and end.start() == at
            self._ends_line = False
            return end.end()
        found = _SIZE.match(data, at)
        if found is None:
            if _LINE_END.search(data, at) is not None:
                raise BadFraming("a chunk has no size")
            return None
        self._left = int(found[1], 16)
        self._in_trailers = not self._left
        return found.end()

    def _keep(self, rest: bytes) -> None:
        if len(rest) > LONGEST_LINE or (self._ends_line and rest != b"\r"):
            raise BadFraming("a chunk is longer than its size, or a line has no end")
        self._rest = rest


def _whole_chunks(data: bytes) -> tuple[list[bytes], int]:
    """The chunks that data begins with, as far as they are whole and as they nearly always are; and what they take."""
    parts, at = list[bytes](), 0
    while at < len(data) and (found := _SIZE.match(data, at)) is not None:
        end = found.end() + int(found[1], 16)
        if end == found.end() or data[end : end + 2] != b"\r\n":
            break
        parts.append(data[found.end() : end])
        at = end + 2
    return parts, at


class Sized:
    """A body of a length that is known."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.is_over = size == 0
        self.has_overrun = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those of the body."""
        body = data[: self._left]
        self._left -= len(body)
        self.is_over = not self._left
        self.has_overrun = len(body) < len(data)
        return body

    def close(self) -> bytes:
        """A body that is shorter than it said was cut."""
        if not self.is_over:
            raise BadFraming("the connection ended inside of the answer")
        return b""


class Open:
    """A body that ends with its connection."""

    has_overrun = False

    def __init__(self) -> None:
        self.is_over = False

    def feed(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def close(self) -> bytes:
        """That was it."""
        self.is_over = True
        return b""


def unpacked(inner: Framing, encoding: str) -> tuple[Framing, str]:
    """A body by the name of its encoding; the name again where it is one that is not read here."""
    if encoding in PLAIN:
        return inner, ""
    return (Inflating(inner, encoding), "") if encoding in _WBITS else (Sealed(inner), encoding)


class _Packed:
    """A body that is packed: it ends where the framing around it does."""

    def __init__(self, inner: Framing) -> None:
        self._inner = inner

    @property
    def is_over(self) -> bool:
        """The last byte was seen."""
        return self._inner.is_over

    @property
    def has_overrun(self) -> bool:
        """Something was fed that lies behind it."""
        return self._inner.has_overrun


class Inflating(_Packed):
    """A body that is compressed although nobody asked for that: read all the same, in the two usual ways.

    A gzip body is any number of members, one after the other (RFC 1952, section 2.2). One whose last member has no end
    was cut, whatever its length says; so was one that goes on with something else.
    """

    def __init__(self, inner: Framing, encoding: str) -> None:
        super().__init__(inner)
        self._wbits = _WBITS[encoding]
        self._inflate = zlib.decompressobj(self._wbits)
        self._is_whole = True  # nothing at all is a whole body, too

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those of the body."""
        try:
            inflated = self._unpacked(self._inner.feed(data))
        except zlib.error as error:
            raise BadFraming("the answer's encoding is broken") from error
        if self._inner.is_over:
            self._check_whole()
        return inflated

    def close(self) -> bytes:
        """Where it ends with its connection."""
        self._inner.close()
        self._check_whole()
        return b""

    def _unpacked(self, packed: bytes) -> bytes:
        parts, room = list[bytes](), MOST_INFLATED
        while packed:
            if self._inflate.eof:
                self._begin_member()
            parts.append(self._inflate.decompress(packed, room))
            room -= len(parts[-1])
            if self._inflate.unconsumed_tail or room <= 0:
                raise BadFraming("the answer grows too much when it is unpacked")
            packed, self._is_whole = self._inflate.unused_data, self._inflate.eof
        return b"".join(parts)

    def _begin_member(self) -> None:
        if self._wbits != _WBITS["gzip"]:
            raise BadFraming("something follows the answer's end that is no part of it")
        self._inflate = zlib.decompressobj(self._wbits)

    def _check_whole(self) -> None:
        if not self._is_whole:
            raise BadFraming("the answer was cut: what it is packed in has no end")


class Sealed(_Packed):
    """A body that nobody here can read: where it ends is known, and nothing of it is kept."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; there are none of the body."""
        self._inner.feed(data)
        return b""

    def close(self) -> bytes:
        """Where it ends with its connection."""
        self._inner.close()
        return b""
