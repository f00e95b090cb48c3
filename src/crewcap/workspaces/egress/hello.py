"""The name in a TLS greeting (ClientHello), read from the bytes as they come. No I/O.

Nothing of a connection goes out before this name is the one that was asked for: otherwise a tunnel to a listed host
could carry anything. A greeting may come in several records and pieces; it is read to its end, within a bound. A
second, encrypted name (ECH) would be one that nobody here can judge, so a greeting that holds one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 64 << 10
_START, _CLIENT_HELLO = b"\x16\x03", 1  # a handshake, TLS 1.x
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_LARGEST_RECORD = 1 << 14


@dataclass(frozen=True, slots=True)
class Greeting:
    """A whole greeting: the one name in it; empty = none."""

    name: str
    is_encrypted: bool  # it holds a second name that we cannot read


class NotTls(ValueError):
    """What comes is no TLS greeting; the text says so in words."""


def read_greeting(received: bytes) -> Greeting | None:
    """The greeting at the start of what was received so far; None = there is more to come."""
    hello = _hello(received)
    return None if hello is None else _read_hello(hello)


def _hello(received: bytes) -> bytes | None:
    """The handshake message inside its records."""
    message, at = b"", 0
    while True:
        head = received[at : at + 5]
        _refuse_other_than_tls(head)
        if len(head) < 5:
            break
        size = int.from_bytes(head[3:5], "big")
        if not 0 < size <= _LARGEST_RECORD:
            raise NotTls("its TLS records are broken")
        message += received[at + 5 : at + 5 + size]
        at += 5 + size
        if message and message[0] != _CLIENT_HELLO:
            raise NotTls("it does not begin with a TLS greeting")
        if len(message) >= 4 and len(message) >= (end := 4 + int.from_bytes(message[1:4], "big")):
            return message[4:end]
        if at >= len(received):
            break
    if len(received) > LARGEST:
        raise NotTls("its TLS greeting is too long")
    return None


def _refuse_other_than_tls(head: bytes) -> None:
    if head[:2] not in (_START, _START[:1], b""):
        raise NotTls("it is not TLS")


class _Fields:
    """Fields of a handshake, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, size: int) -> bytes:
        taken = self.content[self.at : self.at + size]
        if len(taken) < size:
            raise NotTls("its TLS greeting is broken")
        self.at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self, size: int) -> bytes:
        """A field that says its own length in `size` bytes."""
        return self.take(self.number(size))

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.content)


def _read_hello(hello: bytes) -> Greeting:
    fields = _Fields(hello)
    fields.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compressions
        fields.sized(size)
    extensions = list(_extensions(b"" if fields.is_over else fields.sized(2)))
    if not fields.is_over:
        raise NotTls("its TLS greeting is broken")
    kinds = [kind for kind, _ in extensions]
    if len(kinds) != len(set(kinds)):
        raise NotTls("its TLS greeting says something twice")
    name = next((_name(content) for kind, content in extensions if kind == _SERVER_NAME), "")
    return Greeting(name, _ENCRYPTED_HELLO in kinds)


def _extensions(content: bytes) -> Iterator[tuple[int, bytes]]:
    fields = _Fields(content)
    while not fields.is_over:
        yield fields.number(2), fields.sized(2)


def _name(content: bytes) -> str:
    """The one host's name of the extension."""
    outer = _Fields(content)
    names = _Fields(outer.sized(2))
    kind, name = names.number(1), names.sized(2)
    if kind != 0 or not names.is_over or not outer.is_over or not name.isascii() or not name:
        raise NotTls("the name in its TLS greeting is broken")
    return name.decode("ascii").lower()
