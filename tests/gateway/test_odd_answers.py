"""Answers that are HTTP, and not what was asked for: what the client gets, and what the books say."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.gateway.conftest import MODEL, RigMaker

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
