"""Answers that are HTTP, and not what was asked for: what the client gets, and what the books say."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.gateway.conftest import MODEL, PROVIDER_KEY, RigMaker

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "Yes. " * 40}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 40},
}
WHOLE = json.dumps(MESSAGE).encode()


@asynccontextmanager
async def saying(body: bytes, *headers: str, status: int = 200) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A provider with one answer: its address, and the heads of what it was asked."""
    asked = list[bytes]()
    lines = [f"HTTP/1.1 {status} So", "content-type: application/json", *headers, f"content-length: {len(body)}"]
    said = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def test_an_answer_packed_in_two_parts_reaches_its_client_whole(rig: RigMaker) -> None:
    async def main() -> None:
        packed = gzip.compress(WHOLE[:90]) + gzip.compress(WHOLE[90:])
        async with saying(packed, "content-encoding: gzip") as (url, _), rig(base_url=url) as r:
            status, _, body = await r.post(r.request())
            assert (status, body) == (200, WHOLE)
            await r.settled()
            assert r.entries()[0].kind == "settled"

    asyncio.run(main())


@pytest.mark.parametrize("missing", [4, 12, 60])
def test_a_packed_answer_without_its_end_was_cut(rig: RigMaker, missing: int) -> None:
    """As one that is not packed: nothing of it is passed on, and its hold stays charged."""

    async def main() -> None:
        packed = gzip.compress(WHOLE)[:-missing]
        async with saying(packed, "content-encoding: gzip") as (url, _), rig(base_url=url, attempts=1) as r:
            status, _, body = await r.post(r.request())
            assert status == 502
            assert "broke off" in json.loads(body)["error"]["message"]
            await r.settled()
            entry = r.entries()[0]
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_answer_in_an_encoding_that_nobody_asked_for_is_told_by_its_name_and_not_asked_for_again(
    rig: RigMaker, encoding: str, *, stream: bool
) -> None:
    """It was billed, and another one would be like it."""

    async def main() -> None:
        async with saying(WHOLE, f"content-encoding: {encoding}") as (url, asked), rig(base_url=url) as r:
            status, headers, body = await r.post(r.request(stream=stream))
            assert (status, headers["x-should-retry"], len(asked)) == (502, "false", 1)
            assert f"200, encoded as '{encoding}'" in json.loads(body)["error"]["message"]
            await r.settled()
            (entry,) = r.entries()
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)
            assert encoding in entry.reason

    asyncio.run(main())


def test_an_error_in_such_an_encoding_is_still_that_error_and_free(rig: RigMaker) -> None:
    async def main() -> None:
        odd = saying(b"\x0b\x02\x80", "content-encoding: br", status=404)
        async with odd as (url, _), rig(base_url=url) as r:
            status, _, body = await r.post(r.request())
            assert status == 404
            assert "404, encoded as 'br'" in json.loads(body)["error"]["message"]
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["released"]

    asyncio.run(main())


def test_a_count_call_in_such_an_encoding_is_told_by_its_name(rig: RigMaker) -> None:
    async def main() -> None:
        async with saying(b"\x0b\x02\x80", "content-encoding: br") as (url, _), rig(base_url=url) as r:
            status, _, body = await r.post(r.request(), path="/v1/messages/count_tokens")
            assert status == 502
            assert "encoded as 'br'" in json.loads(body)["error"]["message"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "headers",
    [["x-long: " + "a" * 200_000], ["x-long: " + "a" * 9_000], [f"x-{number}: {'a' * 90}" for number in range(900)]],
    ids=["one of 200 kB", "one of 9 kB", "many"],
)
def test_an_answer_whose_head_is_too_large_is_told_so_and_not_asked_for_again(
    rig: RigMaker, headers: list[str]
) -> None:
    async def main() -> None:
        async with saying(WHOLE, *headers) as (url, asked), rig(base_url=url) as r:
            status, said, body = await r.post(r.request())
            assert (status, said["x-should-retry"], len(asked)) == (502, "false", 1)
            assert "head of the provider's answer is too large" in json.loads(body)["error"]["message"]
            await r.settled()
            (entry,) = r.entries()
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)
            assert "too large" in entry.reason

    asyncio.run(main())


SAYING_THE_KEY = {
    200: json.dumps({**MESSAGE, "content": [{"type": "text", "text": f"your key is {PROVIDER_KEY}, is it"}]}),
    400: json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": f"bad {PROVIDER_KEY}"}}),
    402: json.dumps({"type": "error", "error": {"type": "billing_error", "message": f"{PROVIDER_KEY} has no credit"}}),
    404: f"<html>no such page: /v1/messages?key={PROVIDER_KEY}&key={PROVIDER_KEY}</html>",
    422: PROVIDER_KEY,
    500: json.dumps({"type": "error", "error": {"type": "api_error", "message": f"{PROVIDER_KEY}: internal"}}),
}


@pytest.mark.parametrize("status", SAYING_THE_KEY)
def test_a_provider_that_says_its_key_back_is_passed_on_without_it(rig: RigMaker, status: int) -> None:
    """The gateway alone has the key; neither its clients nor its books nor its log are to learn it."""

    async def main() -> None:
        said = SAYING_THE_KEY[status].encode()
        async with saying(said, status=status) as (url, asked), rig(base_url=url, attempts=1) as r:
            got, _, body = await r.post(r.request())
            assert PROVIDER_KEY.encode() in asked[0]
            assert (got, PROVIDER_KEY.encode() in body) == (status, False)
            if status != 402:  # which is told in our own words
                assert body == said.replace(PROVIDER_KEY.encode(), b"[secret removed]")
            await r.settled()
            assert PROVIDER_KEY not in repr(r.entries())

    asyncio.run(main())


def test_a_count_call_that_says_the_key_back_is_passed_on_without_it(rig: RigMaker) -> None:
    async def main() -> None:
        said = json.dumps({"input_tokens": 5, "by": PROVIDER_KEY}).encode()
        async with saying(said) as (url, _), rig(base_url=url) as r:
            status, _, body = await r.post(r.request(), path="/v1/messages/count_tokens")
            assert (status, json.loads(body)) == (200, {"input_tokens": 5, "by": "[secret removed]"})

    asyncio.run(main())
