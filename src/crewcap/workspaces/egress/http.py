"""HTTP/1.1 as the way out reads it: heads, strictly, and where a message ends. No I/O.

What is written in more than one way is refused rather than guessed: two parties that read a request differently are how
requests are smuggled. Heads that go on are written anew from what was understood, never passed through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

LARGEST_HEAD = 32 << 10
Header = tuple[str, str]

_REQUEST = re.compile(r"([A-Z]{1,20}) ([!-~]{1,16384}) HTTP/1\.([01])")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d)(?: [\t -~\x80-\xff]*)?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_AUTHORITY = re.compile(r"([^:/?#@\[\]\\]+|\[[^\]]*\]):([0-9]{1,5})")
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_HIGHEST_PORT = 65_535


class Malformed(ValueError):
    """This is not HTTP as we take it; the text says why in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line and the headers of a message."""

    first: str
    headers: tuple[Header, ...]

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header."""
        return tuple(value for key, value in self.headers if key.lower() == name)

    def one(self, name: str) -> str:
        """A header that may stand once; empty = it is not there."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"the {name} header stands there twice")
        return values[0] if values else ""

    def onward(self, *, without: Iterable[str] = ()) -> tuple[Header, ...]:
        """The headers that are meant for the other end."""
        named = {word.strip().lower() for value in self.all("connection") for word in value.split(",")}
        dropped = _HOP_BY_HOP | named | set(without)
        return tuple((key, value) for key, value in self.headers if key.lower() not in dropped)

    @property
    def framing(self) -> int | Literal["chunked"] | None:
        """How long the body is; None = it is not said."""
        coding, length = self.one("transfer-encoding").lower(), self.one("content-length")
        if coding and (length or coding != "chunked"):
            raise Malformed("it is not clear where the message ends")
        if coding:
            return "chunked"
        if length and not (length.isascii() and length.isdigit() and len(length) < 16):
            raise Malformed("its length is not a number")
        return int(length) if length else None

    @property
    def keeps_open(self) -> bool:
        """Whether the sender will go on with this connection."""
        words = {word.strip().lower() for value in self.all("connection") for word in value.split(",")}
        return "close" not in words and ("HTTP/1.0" not in self.first or "keep-alive" in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for."""

    method: str
    target: str
    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a server answers."""

    status: int
    head: Head

    def has_body(self, method: str) -> bool:
        """Whether a body follows at all."""
        return method != "HEAD" and self.status >= 200 and self.status not in {204, 304}


def read_head(raw: bytes) -> Head:
    """Lines and headers of a head, its empty last line included."""
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    found = [_HEADER.fullmatch(line) for line in lines]
    if not all(found):
        raise Malformed("a header is broken")
    headers = tuple((match[1], match[2].rstrip(" \t")) for match in found if match)
    return Head(first=first, headers=headers)


def read_request(raw: bytes) -> Request:
    """A request's head."""
    head = read_head(raw)
    match = _REQUEST.fullmatch(head.first)
    if match is None:
        raise Malformed("the request line is broken")
    return Request(method=match[1], target=match[2], head=head)


def read_answer(raw: bytes) -> Answer:
    """An answer's head."""
    head = read_head(raw)
    match = _STATUS.fullmatch(head.first)
    if match is None:
        raise Malformed("the server's status line is broken")
    return Answer(status=int(match[2]), head=head)


def read_authority(text: str) -> tuple[str, int]:
    """`host:port`, as CONNECT writes it; the host may still be anything."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= _HIGHEST_PORT:
        raise Malformed("CONNECT wants a host and a port")
    return match[1], int(match[2])


@dataclass(frozen=True, slots=True)
class Address:
    """What an absolute address says."""

    scheme: str
    host: str
    port: int
    path: str  # with its query


def read_address(target: str) -> Address:
    """`http://host/path`, as a proxy is asked for it."""
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise Malformed("the address is broken") from None
    if "@" in parts.netloc or "\\" in parts.netloc:
        raise Malformed("the address carries a user's name")
    if not parts.scheme or not parts.hostname:
        raise Malformed("a proxy wants the whole address, or CONNECT")
    query = f"?{parts.query}" if parts.query else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(parts.scheme, host, 80 if port is None else port, (parts.path or "/") + query)


def write_head(first: str, headers: Iterable[Header]) -> bytes:
    """A head as it goes out."""
    lines = [first, *(f"{key}: {value}" for key, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
