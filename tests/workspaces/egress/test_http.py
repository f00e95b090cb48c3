"""HTTP heads, read strictly."""

from __future__ import annotations

import pytest

from crewcap.workspaces.egress.http import (
    Address,
    Malformed,
    read_address,
    read_answer,
    read_authority,
    read_request,
    write_head,
)


def test_a_request_is_read_and_can_be_written_again() -> None:
    raw = b"GET /simple/ HTTP/1.1\r\nHost: packages.test\r\nAccept:  */* \r\n\r\n"
    request = read_request(raw)
    assert (request.method, request.target) == ("GET", "/simple/")
    assert request.head.headers == (("Host", "packages.test"), ("Accept", "*/*"))
    assert write_head("GET /simple/ HTTP/1.1", request.head.headers) == raw.replace(b":  */* ", b": */*")


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT packages.test:443 HTTP/1.1\nHost: x\r\n\r\n",
        b"CONNECT packages.test:443\rX HTTP/1.1\r\n\r\n",
        b"CONNECT packages.test:443 HTTP/1.1 \r\n\r\n",
        b"CONNECT  packages.test:443 HTTP/1.1\r\n\r\n",
        b"CONNECT packages.test:443 other.test:443 HTTP/1.1\r\n\r\n",
        b"CONNECT packages.test\0:443 HTTP/1.1\r\n\r\n",
        b"CONNECT packages.test:443 HTTP/2.0\r\n\r\n",
        b"connect packages.test:443 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET /ä HTTP/1.1\r\n\r\n".encode(),
        b"\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(head)


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Content-Length: +5",
        "Content-Length: 5, 5",
    ],
)
def test_a_message_whose_end_is_not_clear_is_refused(lines: str) -> None:
    request = read_request(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n".encode())
    with pytest.raises(Malformed):
        _ = request.head.framing


def test_what_is_meant_for_the_proxy_does_not_go_on() -> None:
    lines = "Connection: close, X-Mine\r\nX-Mine: 1\r\nProxy-Authorization: Basic eA==\r\nTE: x\r\nUpgrade: y\r\nA: b"
    request = read_request(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n".encode())
    assert request.head.onward() == (("A", "b"),)


@pytest.mark.parametrize(
    ("text", "place"),
    [("packages.test:443", ("packages.test", 443)), ("[::1]:443", ("[::1]", 443)), ("127.1:22", ("127.1", 22))],
)
def test_a_connect_names_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert read_authority(text) == place


@pytest.mark.parametrize(
    "text", ["packages.test", "packages.test:", ":443", "a:b@c:443", "u@packages.test:443", "a/b:443", "a:0", "a:65536"]
)
def test_a_connect_that_names_more_or_less_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_authority(text)


def test_an_absolute_address_is_read() -> None:
    assert read_address("http://deb.test/debian?x=1#y") == Address("http", "deb.test", 80, "/debian?x=1")
    assert read_address("http://deb.test:8080") == Address("http", "deb.test", 8080, "/")


@pytest.mark.parametrize(
    "text",
    [
        *("/simple", "deb.test", "http://", "http://deb.test:x/", "http://u@evil.test/", "http://u:p@deb.test/"),
        *("http://deb.test\\@evil.test/", "http://@deb.test/", "http://[::1", "*"),
    ],
)
def test_an_address_that_hides_something_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_address(text)


def test_an_answer_is_read() -> None:
    answer = read_answer(b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n")
    assert (answer.status, answer.has_body("GET"), answer.head.keeps_open) == (204, False, True)
    assert read_answer(b"HTTP/1.0 200 OK\r\n\r\n").head.keeps_open is False


@pytest.mark.parametrize("head", [b"HTTP/1.1 999 X\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n"])
def test_a_broken_answer_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        read_answer(head)
