"""Requests that are meant to harm: answered in their provider's own error shape, never forwarded, nothing lost.

Over raw sockets, because a client library would not send most of them. Every case ends with the same question: was
the provider asked, is money held or charged, and does an honest request still get its answer.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.dialects import Three, three
from tests.gateway.families import CRLF, FAMILIES, Family, error_of, every_family, raw, request, unharmed

from crewcap.core.money import ZERO
from crewcap.prices import Book


async def refused(
    t: Three, family: Family, bodies: Mapping[str, bytes], *, statuses: Iterable[int] = (400,)
) -> dict[str, str]:
    """Each of these bodies is answered with one of these statuses, in shape; the messages by name."""
    messages = {}
    for name, body in bodies.items():
        status, answer = await raw(t, request(t, family, body))
        assert status in set(statuses), (name, status, answer)
        messages[name] = error_of(family, answer)[1]
        assert t.key.secret not in answer.decode(errors="replace")
    return messages


# --- bodies


def malformed(family: Family) -> dict[str, bytes]:
    """Bodies on which two readers may differ, or that no reader takes."""
    plain = family.bytes()
    first = next(iter(family.body))
    inside = f'{{"{first}":'.encode()
    return {
        "a key that stands twice": plain[:-1] + b',"' + family.limit.encode() + b'":1}',
        "a key that stands twice, once escaped": plain[:-1]
        + b',"\\u00'
        + f"{ord(family.limit[0]):x}".encode()
        + family.limit[1:].encode()
        + b'":1}',
        "a key that stands twice further in": plain[:-1] + b',"metadata":{"a":{"b":1,"b":2}}}',
        "not a number": plain[:-1] + b',"temperature":NaN}',
        "infinity": plain[:-1] + b',"temperature":-Infinity}',
        "half a pair": plain[:-1] + b',"user":"\\ud800"}',
        "not UTF-8": plain[:-1] + b',"user":"\xff"}',
        "UTF-16": plain.decode().encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + plain,
        "two bodies": plain + plain,
        "a list": b"[" + plain + b"]",
        "a string": b'"hello"',
        "nothing": b"",
        "null": b"null",
        "half": plain[: len(plain) // 2],
        "too deep": inside + b"[" * 120 + b"]" * 120 + b"}",
        "far too deep": inside + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "a number without end": plain[:-1] + b',"seed":' + b"9" * 5_000 + b"}",
        "a comment": plain[:-1] + b"/* */}",
        "a comma too many": plain[:-1] + b",}",
        "single quotes": plain.replace(b'"', b"'"),
        "a NUL": plain[:-1] + b"\x00}",
        "no body's own form": b"a=1&b=2",
    }


def wrong_values(family: Family) -> dict[str, bytes]:
    """Values that a lenient reader would take for others."""
    limits: list[Any] = [-1, 1.5, "1000", True, [1_000], {"value": 1}, 10**12]
    if family.name == "gemini":
        made = [family.bytes(generationConfig={"maxOutputTokens": limit}) for limit in limits]
        both = family.bytes(generationConfig={"maxOutputTokens": 9, "max_output_tokens": 900})
        third = family.bytes(generation_Config={"maxOutputTokens": 9})
        return {
            **{f"limit {limit}": body for limit, body in zip(limits, made, strict=True)},
            "both spellings": both,
            "a third spelling": third,
            "several spellings of a block": family.bytes(generation_config={"maxOutputTokens": 9}),
            "another model than the path's": family.bytes(model="models/gemini-2.0-flash"),
            "half a candidate": family.bytes(generationConfig={"candidateCount": 0.5}),
            "no contents": b"{}",
        }
    found = {f"limit {limit}": family.bytes(**{family.limit: limit}) for limit in limits}
    streams: tuple[Any, ...] = ("true", 1, [], "")
    models: tuple[Any, ...] = ("", None, 7, ["gpt-5.5"])
    found |= {f"stream {value!r}": family.bytes(stream=value) for value in streams}
    found |= {f"model {value!r}": family.bytes(model=value) for value in models}
    if family.name == "chat":
        counts: tuple[Any, ...] = (0, -1, 1.5, "2", 10**6)
        found |= {f"n {value!r}": family.bytes(n=value) for value in counts}
        found["two limits"] = family.bytes(max_tokens=1)
    return found


@every_family
def test_a_body_that_can_be_read_in_two_ways_is_not_read_at_all(tmp_path: Path, book: Book, family: Family) -> None:
    """What we bound and what the provider bills must be the same text."""

    async def main() -> None:
        async with three(tmp_path, book, family.said()) as t:
            messages = await refused(t, family, malformed(family))
            assert "stands twice" in messages["a key that stands twice"]
            assert "stands twice" in messages["a key that stands twice, once escaped"]
            assert "nested" in messages["too deep"]
            await refused(t, family, wrong_values(family))
            await unharmed(t, family)

    asyncio.run(main())


@every_family
def test_a_body_that_is_packed_or_too_large_is_refused_before_it_is_read(
    tmp_path: Path, book: Book, family: Family
) -> None:
    """A kilobyte that unpacks to a gigabyte, 64 MiB that are only announced, and those that just keep coming."""

    async def main() -> None:
        packed = gzip.compress(family.bytes())
        async with three(tmp_path, book, family.said(), body_bytes=2**20) as t:
            for line in (
                b"content-encoding: gzip",
                b"content-encoding: deflate",
                b"content-encoding: br",
                b"content-encoding: identity, gzip",
                b"Content-Encoding: GZIP",
            ):
                status, answer = await raw(t, request(t, family, packed, line))
                assert (status, "encoded" in error_of(family, answer)[1]) == (400, True)
            chunk = b"%x\r\n" % len(packed) + packed + CRLF + b"0" + CRLF * 2
            status, answer = await raw(t, request(t, family, chunk, b"transfer-encoding: gzip, chunked", length=b""))
            assert (status, "encoded" in error_of(family, answer)[1]) == (400, True)
            status, answer = await raw(t, request(t, family, b"{", length=str(64 * 2**20).encode()))
            assert (status, "larger than 1 MB" in error_of(family, answer)[1]) == (413, True)
            flood = b"".join(b"8000\r\n" + b" " * 0x8000 + CRLF for _ in range(40))
            status, answer = await raw(t, request(t, family, flood, b"transfer-encoding: chunked", length=b""))
            assert (status, "larger than 1 MB" in error_of(family, answer)[1]) == (413, True)
            await unharmed(t, family)

    asyncio.run(main())


@every_family
def test_a_body_that_never_ends_costs_nothing_but_patience(tmp_path: Path, book: Book, family: Family) -> None:
    async def main() -> None:
        async with three(tmp_path, book, family.said(), idle_s=0.1) as t:
            status, answer = await raw(t, request(t, family, family.bytes()[:-1], length=b"9999"))
            assert (status, "ended too early" in error_of(family, answer)[1]) == (400, True)
            sent = request(t, family, family.bytes()[:-1], length=b"9999")
            assert (await raw(t, sent, is_half_closed=True))[0] in {0, 400}
            await unharmed(t, family)

    asyncio.run(main())


# --- framing


def framings(t: Three, family: Family) -> dict[str, bytes]:
    """Requests of which one server sees one and another two, or another body, or another header."""
    body = family.bytes()
    chunked = b"%x\r\n" % len(body) + body + CRLF + b"0" + CRLF * 2
    second = request(t, family, body)

    def with_lines(*lines: bytes, content: bytes = body, length: bytes | None = None) -> bytes:
        return request(t, family, content, *lines, length=length)

    return {
        "a length and chunks": with_lines(b"transfer-encoding: chunked", content=b"0\r\n\r\n" + second),
        "chunks and a length": with_lines(b"transfer-encoding: chunked", content=chunked, length=b"4"),
        "two lengths": with_lines(b"content-length: 5"),
        "the same length twice": with_lines(b"content-length: " + str(len(body)).encode()),
        "a list of lengths": with_lines(length=b"5, 5"),
        "a length below nothing": with_lines(length=b"-5"),
        "a length with a sign": with_lines(length=b"+5"),
        "a length in hex": with_lines(length=b"0x20"),
        "a length with a gap": with_lines(length=b"1 0"),
        "chunks of no size": with_lines(b"transfer-encoding: chunked", content=b"zz\r\n{}\r\n0\r\n\r\n", length=b""),
        "chunks below nothing": with_lines(b"transfer-encoding: chunked", content=b"-1\r\n{}\r\n0\r\n\r\n", length=b""),
        "unknown chunks": with_lines(b"transfer-encoding: xchunked", length=b""),
        "chunks twice": with_lines(*[b"transfer-encoding: chunked"] * 2, content=chunked, length=b""),
        "chunks not last": with_lines(b"transfer-encoding: chunked, identity", content=chunked, length=b""),
        "a gap before the colon": with_lines(b"x-a : b"),
        "chunks behind a gap": with_lines(b"transfer-encoding : chunked", content=chunked, length=b"4"),
        "a line without a colon": with_lines(b"x-a"),
        "a folded line": with_lines(b"x-a: b\r\n c: d"),
        "a NUL in a line": with_lines(b"x-a: b\x00c"),
        "half a line end": with_lines(b"x-a: b\rx-b: c"),
        "a name that is none": with_lines(b"x(a): b"),
        "two hosts": with_lines(b"host: api.anthropic.com"),
        "a line without end": with_lines(b"x-a: " + b"b" * 20_000),
        "lines without end": with_lines(*[b"x-%d: b" % number for number in range(500)]),
        "another version": request(t, family, body, line=b"POST / HTTP/9.9"),
        "no version": request(t, family, body, line=b"POST " + family.path.encode()),
        "the newer protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + CRLF * 2,
        "bare line feeds": request(t, family, body).replace(CRLF, b"\n", 3),
    }


@every_family
def test_what_is_not_http_in_one_way_only_is_refused_and_the_connection_closed(
    tmp_path: Path, book: Book, family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    """A second request hidden in the first would be paid for by somebody who did not send it."""

    async def main() -> None:
        async with three(tmp_path, book, family.said()) as t:
            for name, sent in framings(t, family).items():
                status, answer = await raw(t, sent)
                assert status == 400, (name, status, answer)
                assert json.loads(answer)["error"]["message"], name
            await unharmed(t, family)
            assert t.key.secret not in caplog.text

    asyncio.run(main())


@every_family
def test_what_changes_the_protocol_or_hides_lines_changes_nothing(tmp_path: Path, book: Book, family: Family) -> None:
    """Trailers are not headers, hop-by-hop names do not strip any, an upgrade is not an empty body."""

    async def main() -> None:
        body = family.bytes()
        async with three(tmp_path, book, family.said()) as t:
            other = t.new_key().secret.encode()
            status, answer = await raw(t, request(t, family, body, b"connection: upgrade", b"upgrade: websocket"))
            assert (status, "upgrade" in error_of(family, answer)[1]) == (400, True)
            assert not t.provider.asked
            trailer = b"%x\r\n" % len(body) + body + CRLF + b"0" + CRLF + b"x-api-key: " + other + CRLF * 2
            for sent in (
                request(t, family, trailer, b"transfer-encoding: chunked", b"trailer: x-api-key", length=b""),
                request(t, family, body, b"connection: close, x-api-key, authorization, x-goog-api-key"),
                request(t, family, body, b"expect: 100-continue"),
                request(t, family, body, b"x-http-method-override: DELETE", b"x-original-url: /v1/files"),
                request(t, family, body, b"x-forwarded-host: example.org", b"forwarded: host=example.org"),
                request(t, family, body, b"proxy-authorization: Bearer x", b"cookie: key=" + other),
            ):
                status, answer = await raw(t, sent)
                assert status == 200, answer
            await t.settled()
            for asked in t.provider.asked:
                assert asked.target == family.path
                assert set(asked.headers) <= {
                    "accept", "accept-encoding", "anthropic-version", "authorization", "connection", "content-length",
                    "content-type", "host", "user-agent", "x-api-key", "x-goog-api-key",
                }  # fmt: skip
                assert asked.headers["host"] == t.provider.url.removeprefix("http://")
            assert {entry.key for entry in t.ledger.entries()} == {t.key.row.id}

    asyncio.run(main())


# --- paths


def paths(family: Family) -> list[str]:
    """Other ways to write a path; a lenient server takes them for the one that they look like."""
    plain = family.path
    last = plain.rpartition("/")[2]
    return [
        "/" + plain,
        plain.replace("/v1", "//v1", 1).replace("//", "/", 1) + "/",
        plain + "/",
        plain + "//",
        plain + "/.",
        plain + "/..",
        plain + "/../" + last,
        plain.replace("/" + last, "/./" + last),
        plain.replace("/" + last, "/x/../" + last),
        plain.replace("/" + last, "/x/..%2f" + last),
        plain.replace("/" + last, "%2f" + last),
        plain.replace("/" + last, "//" + last),
        plain.replace("/" + last, "\\" + last),
        plain + "%00",
        plain + "%20",
        plain + "%2f",
        plain + ";x=1",
        plain + "#x",
        plain + "%3fkey=1",
        plain.upper(),
        plain.replace("v1", "%761", 1),
        plain.replace("v1", "v01", 1),
        "/openai" + plain,
        "/.." + plain,
        "/%2e%2e" + plain,
        "/" + family.name + plain,
        "*",
        plain[1:],
        "http://example.org" + plain,
        "https://example.org:443" + plain,
        "//example.org" + plain,
        "/v1/files",
        "/v1/models/../messages",
        "/v1beta/models/..%2f..%2fv1:generateContent",
        "/v1beta/models/a/b:generateContent",
        "/v1beta/models/:generateContent",
        "/v1beta/models/gemini-2.5-pro:generateContent:streamGenerateContent",
        "/v1beta/models/gemini-2.5-pro:embedContent",
        "/v1beta/models/gemini-2.5-pro%3agenerateContent",
        "/v1beta/tunedModels/x:generateContent",
        "/v1alpha/models/gemini-2.5-pro:generateContent",
    ]


@every_family
def test_a_path_is_on_the_list_letter_by_letter_or_it_is_another_path(
    tmp_path: Path, book: Book, family: Family
) -> None:
    async def main() -> None:
        async with three(tmp_path, book, family.said()) as t:
            for path in paths(family):
                line = b"POST " + path.encode() + b" HTTP/1.1"
                status, answer = await raw(t, request(t, family, family.bytes(), line=line))
                assert status in {400, 404}, (path, status)
                assert json.loads(answer)["error"]["message"], path
                assert not t.provider.asked, path
            for method in (b"PUT", b"PATCH", b"DELETE", b"TRACE", b"OPTIONS", b"HEAD", b"GET", b"post", b"CONNECT"):
                target = b"example.org:443" if method == b"CONNECT" else family.path.encode()
                line = method + b" " + target + b" HTTP/1.1"
                status, _ = await raw(t, request(t, family, family.bytes(), b"connection: close", line=line))
                assert status in {0, 400, 404, 405}, method
                assert not t.provider.asked, method
            await unharmed(t, family)

    asyncio.run(main())


# --- keys and models


@every_family
def test_a_key_is_one_that_is_known_alive_and_shown_once(tmp_path: Path, book: Book, family: Family) -> None:
    async def main() -> None:
        async with three(tmp_path, book, family.said()) as t:
            other, past = t.new_key().secret, t.new_key(expires_at=datetime.now(UTC) - timedelta(seconds=1)).secret
            revoked = t.new_key()
            t.ledger.revoke_key(revoked.row.id)
            good = t.key.secret
            shown: list[tuple[int, dict[str, str]]] = [
                (401, {}),
                (401, {"authorization": "Bearer"}),
                (401, {"authorization": f"Basic {good}"}),
                (401, {"authorization": good}),
                (401, {"cookie": f"x-api-key={good}"}),
                (401, {"x-api-key": good[:-1]}),
                (401, {"x-api-key": good + "x"}),
                (401, {"x-api-key": good.upper()}),
                (401, {"x-api-key": past}),
                (401, {"x-api-key": revoked.secret}),
                (401, {"x-api-key": "sk-fake-provider-key-0002"}),
                (401, {"x-api-key": "' OR 1=1 --"}),
                (400, {"x-api-key": good, "authorization": f"Bearer {other}"}),
                (400, {"x-goog-api-key": other, "x-api-key": good}),
                (400, {"x-api-key": f"{good},{other}", "authorization": f"Bearer {good}"}),
            ]
            for status, headers in shown:
                async with t.http.post(t.gateway.url + family.path, data=family.bytes(), headers=headers) as answer:
                    assert answer.status == status, headers
                    kind, message = error_of(family, await answer.read())
                    assert kind
                    assert not [secret for secret in (good, other, past, revoked.secret) if secret in message]
            first = b"POST " + family.path.encode() + b" HTTP/1.1"
            size = b"content-length: %d" % len(family.bytes())
            for line in (b"x-api-key: \xff" + good.encode(), b"x-api-key: " + good.encode() + b"\xc3\xa9"):
                status, answered = await raw(t, CRLF.join([first, b"host: x", size, line]) + CRLF * 2 + family.bytes())
                assert (status, bool(error_of(family, answered)[1])) == (401, True)
            twice = [b"x-api-key: " + good.encode(), b"X-Api-Key: " + other.encode()]
            status, _ = await raw(t, CRLF.join([first, b"host: x", size, *twice]) + CRLF * 2 + family.bytes())
            assert status == 400
            await unharmed(t, family)

    asyncio.run(main())


MODELS = (
    "\u0441laude-sonnet-4-6",  # the first letter is Cyrillic
    "gpt-5.5\u200b",
    "\uff47\uff50\uff54-5.5",  # full width
    "gpt\u20105.5",
    "gpt-5.5/../gpt-6-astra",
    "models/gpt-5.5",
    "gpt-5.5\x00",
    "gpt-5.5\nx",
    "gpt-5.5' --",
    "g" * 10_000,
    "*",
    "gpt-*",
    "claude-*",
    "ft:gpt-5.5:me::x",
    "whisper-1",
)


@pytest.mark.parametrize("family", FAMILIES[:3], ids=lambda family: family.name)
def test_a_model_that_only_looks_like_one_has_no_price(tmp_path: Path, book: Book, family: Family) -> None:
    """A name that nobody prices is refused, never booked at nothing."""

    async def main() -> None:
        async with three(tmp_path, book, family.said()) as t:
            for model in MODELS:
                status, answer = await raw(t, request(t, family, family.bytes(model=model)))
                assert (status, bool(error_of(family, answer)[1])) == (400, True), model
                assert len(answer) < 1_000
            await unharmed(t, family)

    asyncio.run(main())


# --- many at once


@every_family
def test_of_many_at_once_each_is_answered_and_none_is_forgotten(tmp_path: Path, book: Book, family: Family) -> None:
    """The cap pays for a few at a time; the others wait, and those whose time is over are told to come again."""

    async def main() -> None:
        async with three(tmp_path, book, family.said(), cap="0.25", wait_s=0.2) as t:
            asked = [t.post(family.path, family.bytes()) for _ in range(120)]
            answers = await asyncio.gather(*asked)
            statuses = {status for status, _, _ in answers}
            assert statuses <= {200, 429}
            assert 200 in statuses
            for status, headers, body in answers:
                if status == 429:
                    assert headers["retry-after"]
                    assert error_of(family, body)[1]
            await t.settled()
            good = sum(status == 200 for status, _, _ in answers)
            assert len(t.provider.asked) == good == sum(entry.kind == "settled" for entry in t.ledger.entries())
            assert (t.balance().held, t.balance().uncertain) == (ZERO, ZERO)
            assert t.ledger.verify().problems == ()

    asyncio.run(main())
