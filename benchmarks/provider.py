"""A fake provider that costs little: raw asyncio, prepared answers.

    python -m benchmarks.provider --port 9001

What a request gets stands in its text, because gateways write bodies anew: `[paced]` = 60 events, 20 ms apart;
else all at once; `"stream": false` = one JSON message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import Any, cast

import uvloop

EVENTS = 60
PACE_S = 0.020
MODEL = "claude-sonnet-4-6"

_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def message_events() -> list[bytes]:
    """One answer of the Messages API, event by event, as chunks of HTTP."""
    usage = _usage(1)
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "some words of it "}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_message(), "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *([text] * (EVENTS - 5)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": _usage(300)},
        {"type": "message_stop"},
    ]
    return [_chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()) for event in events]


def whole(body: bytes) -> bytes:
    """An answer that is one JSON text."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _message() -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}


def _usage(output: int) -> dict[str, Any]:
    return {
        "input_tokens": 500,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "global",
    }


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _content() -> list[dict[str, str]]:
    return [{"type": "text", "text": "some words of it " * (EVENTS - 5)}]


class Connection(asyncio.Protocol):
    """One connection of a client or of a gateway."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's own classes

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            found = _LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                if b"100-continue" in head and self._transport is not None:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        if not body:
            self._transport.write(whole(b'{"data": []}'))
            return
        if not _STREAM.search(body):
            self._transport.write(MESSAGE)
            return
        self._transport.write(_STREAM_HEAD)
        if b"[paced]" in body:
            self._play(self._transport, MESSAGE_EVENTS, 0, self._loop.time())
        else:
            self._transport.write(b"".join(MESSAGE_EVENTS) + b"0\r\n\r\n")

    def _play(self, transport: asyncio.Transport, events: list[bytes], at: int, due: float) -> None:
        """Send one event now, and the next one when it is due."""
        if transport.is_closing():
            return
        if at == len(events) - 1:
            transport.write(events[at] + b"0\r\n\r\n")
            return
        transport.write(events[at])
        self._loop.call_at(due + PACE_S, self._play, transport, events, at + 1, due + PACE_S)


MESSAGE_EVENTS = message_events()
MESSAGE = whole(
    json.dumps({**_message(), "content": _content(), "stop_reason": "end_turn", "usage": _usage(300)}).encode()
)


async def serve(port: int) -> None:
    """Answer until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    """Serve on the port that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
