"""Provider trouble in every family's own words: flex without room, errors in a stream, delays in bodies, breakers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.dialects import SSE, Said, three

from crewcap.core.money import ZERO
from crewcap.gateway.provider.breaker import Rules
from crewcap.prices import Book

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
OPENAI_BODY = {"model": "gpt-5.5", "input": "hello", "max_output_tokens": 100}
GEMINI_BODY = {
    "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
    "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": 0}},
}
ANTHROPIC_BODY = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
OPENAI_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}


def said(http_status: int, **body: Any) -> Said:
    return Said(json.dumps(body).encode(), status=http_status)


OPENAI_ANSWER = said(
    200,
    id="resp_1",
    object="response",
    status="completed",
    model="gpt-5.5",
    output=[],
    usage=OPENAI_USAGE,
    service_tier="default",
)
GEMINI_ANSWER = said(
    200,
    candidates=[{"content": {"parts": [{"text": "Yes."}]}, "finishReason": "STOP"}],
    usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
    modelVersion="gemini-2.5-flash",
)
ANTHROPIC_ANSWER = said(
    200,
    type="message",
    model="claude-sonnet-4-6",
    content=[],
    stop_reason="end_turn",
    usage={"input_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 5},
)
FLEX_FULL = said(
    429,
    error={"message": "Flex has no room", "type": "rate_limit_error", "param": None, "code": "resource_unavailable"},
)
BUSY = said(
    429,
    error={
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "slow down",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.3s"}],
    },
)


@pytest.mark.parametrize(
    ("path", "body", "trouble", "answer"),
    [
        (RESPONSES, OPENAI_BODY, FLEX_FULL, OPENAI_ANSWER),
        (RESPONSES, OPENAI_BODY, said(503, error={"message": "overloaded", "type": "server_error"}), OPENAI_ANSWER),
        (GEMINI, GEMINI_BODY, BUSY, GEMINI_ANSWER),
        (
            GEMINI,
            GEMINI_BODY,
            said(503, error={"code": 503, "status": "UNAVAILABLE", "message": "busy"}),
            GEMINI_ANSWER,
        ),
    ],
    ids=["flex without room", "OpenAI 503", "Gemini 429 with a delay", "Gemini 503"],
)
def test_trouble_then_an_answer_is_one_answer_for_the_client(
    tmp_path: Path, book: Book, path: str, body: dict[str, Any], trouble: Said, answer: Said
) -> None:
    """Flex without room is unbilled and no agent's affair: it is asked again inside the gateway."""

    async def main() -> None:
        async with three(tmp_path, book, trouble, answer, attempts=3, backoff_s=0.01) as t:
            status, _, got = await t.post(path, body)
            assert (status, got) == (200, answer.body)
            await t.settled()
            assert [entry.kind for entry in t.ledger.entries()] == ["released", "settled"]
            assert t.balance().held == ZERO
            assert t.charged() == t.ledger.entries()[1].spent

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "body", "trouble"),
    [(RESPONSES, OPENAI_BODY, FLEX_FULL), (GEMINI, GEMINI_BODY, BUSY)],
    ids=["openai", "gemini"],
)
def test_when_ours_are_used_up_the_familys_library_is_told_to_make_none(
    tmp_path: Path, book: Book, path: str, body: dict[str, Any], trouble: Said
) -> None:
    async def main() -> None:
        async with three(tmp_path, book, trouble, attempts=2, backoff_s=0.01) as t:
            status, headers, got = await t.post(path, body)
            assert (status, got, headers["x-should-retry"]) == (429, trouble.body, "false")
            assert len(t.provider.asked) == 2

    asyncio.run(main())


def test_a_breaker_holds_back_one_provider_and_no_other(tmp_path: Path, book: Book) -> None:
    """Three families at one address have three keys: a storm at one of them is not the others' affair."""

    async def main() -> None:
        storm = said(500, error={"message": "sorry", "type": "server_error"})
        policy: dict[str, Any] = {
            "attempts": 2,
            "backoff_s": 0.01,
            "retry_s": 1,
            "breaker": Rules(failures=2, open_s=30),
        }
        async with three(tmp_path, book, storm, **policy) as t:
            await t.post(RESPONSES, OPENAI_BODY)
            t.provider.answers = [ANTHROPIC_ANSWER]
            status, headers, got = await t.post(RESPONSES, OPENAI_BODY)
            assert (status, headers["x-should-retry"]) == (502, "false")
            assert b"provider openai failed again and again" in got
            assert (await t.post("/v1/messages", ANTHROPIC_BODY))[0] == 200
            states = [(each["key"].partition(" ")[0], each["state"]) for each in t.gateway.status()["breakers"]]
            assert states == [("openai", "open")]

    asyncio.run(main())


def test_an_openai_stream_that_begins_with_an_error_is_asked_for_again(tmp_path: Path, book: Book) -> None:
    """The client has seen nothing of it; what it may have cost stays charged."""

    async def main() -> None:
        error = {
            "type": "error",
            "code": "server_is_overloaded",
            "message": "Our servers are overloaded",
            "param": None,
        }
        failed = Said(f"event: error\ndata: {json.dumps(error)}\n\n".encode(), kind=SSE)
        whole = {"type": "response.completed", "response": json.loads(OPENAI_ANSWER.body)}
        fine = Said(f"event: response.completed\ndata: {json.dumps(whole)}\n\n".encode(), kind=SSE)
        async with three(tmp_path, book, failed, fine, attempts=3, backoff_s=0.01) as t:
            status, _, got = await t.post(RESPONSES, {**OPENAI_BODY, "stream": True})
            assert (status, got) == (200, fine.body)
            await t.settled()
            assert [entry.kind for entry in t.ledger.entries()] == ["uncertain", "settled"]

    asyncio.run(main())
