"""The name in a TLS greeting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workspaces.outside import greeting

from crewcap.workspaces.egress.hello import Greeting, NotTls, read_greeting

WHOLE = greeting("packages.test")


def in_records(hello: bytes, size: int) -> bytes:
    """The same greeting, cut into records of this size."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def with_extension(kind: int, content: bytes) -> bytes:
    """A greeting with one more extension."""
    added = kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    message = WHOLE[5:]
    at = 4 + 2 + 32
    for size in (1, 2, 1):
        at += size + int.from_bytes(message[at : at + size], "big")
    extensions = message[at + 2 :] + added
    body = message[4:at] + len(extensions).to_bytes(2, "big") + extensions
    whole = message[:1] + len(body).to_bytes(3, "big") + body
    return WHOLE[:3] + len(whole).to_bytes(2, "big") + whole


def test_the_name_is_read() -> None:
    assert read_greeting(WHOLE) == Greeting("packages.test", is_encrypted=False)


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=50)
def test_a_part_of_a_greeting_is_not_judged_yet(end: int) -> None:
    assert read_greeting(WHOLE[:end]) is None


@given(st.integers(1, 300))
@settings(max_examples=50)
def test_a_greeting_may_come_in_records_of_any_size(size: int) -> None:
    assert read_greeting(in_records(WHOLE, size)) == Greeting("packages.test", is_encrypted=False)


def test_what_follows_a_greeting_does_not_change_it() -> None:
    assert read_greeting(WHOLE + greeting("other.test")) == Greeting("packages.test", is_encrypted=False)


def test_a_greeting_without_a_name_has_none() -> None:
    assert read_greeting(greeting(None)) == Greeting("", is_encrypted=False)


def test_a_second_encrypted_name_is_seen() -> None:
    assert read_greeting(with_extension(0xFE0D, b"\0" * 20)) == Greeting("packages.test", is_encrypted=True)


def test_a_second_name_is_refused() -> None:
    with pytest.raises(NotTls, match="says something twice"):
        read_greeting(with_extension(0, b"\0\x0d\0\0\x0aother.test"))


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x02\x00\x00\x01",
        b"\x80\x2e\x01\x03\x01",
        b"\0",
        b"\x17\x03\x03\0\x01",
    ],
)
def test_what_is_not_tls_is_seen_at_once(start: bytes) -> None:
    with pytest.raises(NotTls):
        read_greeting(start)


@pytest.mark.parametrize("record", [b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x01\x02"])
def test_a_broken_record_or_another_message_is_refused(record: bytes) -> None:
    with pytest.raises(NotTls):
        read_greeting(record)


def test_a_greeting_that_never_ends_is_refused() -> None:
    start = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + b"\0" * (0x4000 - 4)
    with pytest.raises(NotTls, match="too long"):
        read_greeting(start + b"".join(b"\x16\x03\x01\x40\x00" + b"\0" * 0x4000 for _ in range(4)))


@given(st.binary(max_size=400))
@settings(max_examples=100)
def test_no_bytes_are_mistaken_for_another_name(noise: bytes) -> None:
    """Whatever is put where, it is a name, or it is refused, or there is more to come."""
    try:
        found = read_greeting(WHOLE[:100] + noise)
    except NotTls:
        return
    assert found is None or found.name.isascii()
