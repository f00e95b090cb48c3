"""The Gemini API through the gateway, end to end: what is held, forwarded, billed and refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.gateway.dialects import SSE, Said, three

from crewcap.core.money import ZERO, Money
from crewcap.prices import Book

MODEL = "gemini-2.5-pro"
WHOLE = f"/v1beta/models/{MODEL}:generateContent"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent"
ASK: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 10,
    "totalTokenCount": 150,
}
COST = Money.usd("0.0006025")  # 80 at $1.25, 20 at $0.125, 50 at $10 the million


def part(text: str = "Yes.", *, end: str = "", usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a stream, or a whole answer."""
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if end:
        candidate["finishReason"] = end
    told = {"usageMetadata": usage} if usage is not None else {}
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1", **told, **fields}


def events(*chunks: dict[str, Any], **said: Any) -> Said:
    """A stream of events, with the line ends that Google writes."""
    return Said(b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks), kind=SSE, **said)


FIRST = part(usage={"promptTokenCount": 90, "candidatesTokenCount": 2, "totalTokenCount": 92})
LAST = part(end="STOP", usage=USAGE)


def error_of(body: bytes) -> dict[str, Any]:
    """The error in Google's shape, and nothing beside it."""
    said = json.loads(body)
    assert set(said) == {"error"}
    assert {"code", "message", "status", "details"} == set(said["error"])
    found: dict[str, Any] = said["error"]
    return found


def test_an_answer_is_held_forwarded_and_booked_to_the_nano(tmp_path: Path, book: Book) -> None:
    """Gemini CLI sends no output limit: the model's own goes out, and nothing else of the body changes."""

    async def main() -> None:
        answer = part(end="STOP", usage=USAGE)
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            status, headers, body = await t.post(WHOLE, ASK)
            assert (status, json.loads(body)) == (200, answer)
            asked = t.provider.asked[0]
            assert (asked.target, asked.headers["x-goog-api-key"]) == (WHOLE, "sk-fake-provider-key-0002")
            assert asked.fields == {**ASK, "generationConfig": {"maxOutputTokens": 65_536}}
            entry = await t.entry()
            assert (entry.kind, entry.spent, entry.uncertain, entry.request_id) == ("settled", COST, ZERO, "r1")
            assert headers["x-crewcap-cost-usd"] == COST.exact()
            assert t.balance().held == ZERO

    asyncio.run(main())


def test_a_stream_of_events_passes_untouched_and_is_booked_by_its_last_word(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, events(FIRST, LAST)) as t:
            status, headers, body = await t.post(STREAM + "?alt=sse", ASK)
            assert (status, body) == (200, events(FIRST, LAST).body)
            assert headers["content-type"].startswith(SSE)
            assert t.provider.asked[0].target == STREAM + "?alt=sse"
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", COST)

    asyncio.run(main())


def test_a_request_that_the_cap_cannot_hold_is_refused_once_in_googles_shape(tmp_path: Path, book: Book) -> None:
    """A 400 in Google's error shape ends Gemini CLI after one request, with our words shown."""

    async def main() -> None:
        async with three(tmp_path, book, events(LAST), cap="0.0001") as t:
            for path in (WHOLE, STREAM + "?alt=sse"):
                status, _, said = await t.post(path, ASK)
                error = error_of(said)
                assert (status, error["code"], error["status"]) == (400, 400, "FAILED_PRECONDITION")
                assert error["details"][0]["reason"] == "budget_exhausted"
                assert "raise it with" in error["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())
