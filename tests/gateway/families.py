"""One honest request of each dialect, and ways to send dishonest ones as bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.gateway.dialects import Said, Three, key_header

from crewcap.core.money import ZERO

CRLF = b"\r\n"


@dataclass(frozen=True)
class Family:
    """One dialect: an honest request, and its answer."""

    name: str
    path: str
    body: Mapping[str, Any]
    answer: Mapping[str, Any]
    limit: str  # the member that limits the output

    def bytes(self, **fields: Any) -> bytes:
        return json.dumps({**self.body, **fields}).encode()

    def said(self) -> Said:
        return Said(json.dumps(self.answer).encode())


_OPENAI = {"model": "gpt-5.5", "service_tier": "default", "id": "x", "status": "completed", "output": [], "choices": []}
FAMILIES = (
    Family(
        "anthropic",
        "/v1/messages",
        {"model": "claude-sonnet-4-6", "max_tokens": 1_000, "messages": [{"role": "user", "content": "hello"}]},
        {
            "type": "message",
            "model": "claude-sonnet-4-6",
            "usage": {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 0},
        },
        "max_tokens",
    ),
    Family(
        "responses",
        "/v1/responses",
        {"model": "gpt-5.5", "max_output_tokens": 1_000, "input": "hello"},
        {**_OPENAI, "usage": {"input_tokens": 9, "output_tokens": 5}},
        "max_output_tokens",
    ),
    Family(
        "chat",
        "/v1/chat/completions",
        {"model": "gpt-5.5", "max_completion_tokens": 1_000, "messages": [{"role": "user", "content": "hello"}]},
        {**_OPENAI, "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
        "max_completion_tokens",
    ),
    Family(
        "gemini",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
            "generationConfig": {"maxOutputTokens": 1_000, "thinkingConfig": {"thinkingBudget": 128}},
        },
        {
            "candidates": [{"finishReason": "STOP", "index": 0}],
            "modelVersion": "gemini-2.5-pro",
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
        },
        "generationConfig",
    ),
)
PROVIDER = {"anthropic": "anthropic", "responses": "openai", "chat": "openai", "gemini": "gemini"}
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


# --- how it is asked, and what must be true afterwards


async def raw(t: Three, sent: bytes, *, is_half_closed: bool = False) -> tuple[int, bytes]:
    """Send bytes as they are; status and body of the answer, 0 where there is none."""
    host, port = t.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    if is_half_closed:
        writer.write_eof()
    try:
        async with asyncio.timeout(10):
            head = await reader.readuntil(CRLF * 2)
            while head.startswith(b"HTTP/1.1 100"):
                head = await reader.readuntil(CRLF * 2)
            lengths = [line for line in head.lower().split(CRLF) if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else await reader.read()
    except asyncio.IncompleteReadError:
        return 0, b""
    finally:
        writer.close()
    return int(head.split()[1]), body


def request(
    t: Three, family: Family, body: bytes = b"", *lines: bytes, line: bytes = b"", length: bytes | None = None
) -> bytes:
    """A request with these header lines beside the usual ones; `length` of None is the true one, b'' is none at all."""
    first = line or b"POST " + family.path.encode() + b" HTTP/1.1"
    key = [f"{name}: {value}".encode() for name, value in key_header(family.path, t.key.secret).items()]
    said = str(len(body)).encode() if length is None else length
    size = [b"content-length: " + said] if said else []
    return CRLF.join([first, b"host: x", *key, *size, *lines]) + CRLF * 2 + body


def error_of(family: Family, body: bytes) -> tuple[str, str]:
    """Kind and message, out of the family's own shape."""
    said = json.loads(body)
    match family.name:
        case "anthropic":
            assert set(said) == {"type", "error"}
            assert said["type"] == "error"
            return said["error"]["type"], said["error"]["message"]
        case "gemini":
            assert set(said) == {"error"}
            return said["error"]["details"][0]["reason"], said["error"]["message"]
        case _:
            assert set(said) == {"error"}
            return said["error"]["code"], said["error"]["message"]


async def unharmed(t: Three, family: Family) -> None:
    """Nothing went out, nothing is held or charged, and an honest request gets its answer."""
    await t.settled()
    assert not t.provider.asked
    assert (t.charged(), t.balance().held) == (ZERO, ZERO)
    status, _, _ = await t.post(family.path, family.bytes())
    assert status == 200
    assert (await t.entry()).kind == "settled"
