"""OpenAI's two APIs through the gateway, end to end: what is held, forwarded, billed, withheld and refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.gateway.dialects import SSE, Said, three

from crewcap.core.money import ZERO, Money
from crewcap.prices import Book

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
MODEL = "gpt-5.5"
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 150,
}
COST = Money.usd("0.00191")  # 80 at $5, 20 at $0.50, 50 at $30 the million


def response(**fields: Any) -> dict[str, Any]:
    """A whole answer of the Responses API."""
    plain = {"id": "resp_1", "object": "response", "model": MODEL, "status": "completed", "service_tier": "default"}
    return {**plain, "output": [], "usage": USAGE, **fields}


def whole(**fields: Any) -> Said:
    return Said(json.dumps(response(**fields)).encode())


def events(*bodies: dict[str, Any], end: bytes = b"") -> Said:
    """A stream of events."""
    return Said(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in bodies) + end, kind=SSE)


def stream(**fields: Any) -> Said:
    """A stream of the Responses API."""
    return events(
        {"type": "response.created", "response": {"id": "resp_1", "model": MODEL, "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "Yes."},
        {"type": "response.completed", "response": response(**fields)},
    )


def chunk(*, usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a stream of Chat Completions."""
    return {"id": "chat_1", "model": MODEL, "service_tier": "default", "choices": [], "usage": usage, **fields}


SAYS = chunk(choices=[{"index": 0, "delta": {"content": "Yes."}, "finish_reason": None}])
STOPS = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
BILL = chunk(usage={"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150})
DONE = b"data: [DONE]\n\n"


def error_of(body: bytes) -> dict[str, Any]:
    """The error in OpenAI's shape, and nothing beside it."""
    said = json.loads(body)
    assert set(said) == {"error"}
    assert {"message", "type", "param", "code"} <= set(said["error"])
    found: dict[str, Any] = said["error"]
    return found


def test_a_response_is_held_forwarded_and_booked_to_the_nano(tmp_path: Path, book: Book) -> None:
    """Codex sends no output limit: the model's own goes out, and nothing else of the body changes but the tier."""

    async def main() -> None:
        async with three(tmp_path, book, whole()) as t:
            status, headers, body = await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
            assert (status, json.loads(body)) == (200, response())
            asked = t.provider.asked[0]
            assert asked.target == RESPONSES
            assert asked.headers["authorization"] == "Bearer sk-fake-provider-key-0002"
            assert asked.fields == {
                "model": MODEL,
                "input": "hello",
                "service_tier": "default",
                "max_output_tokens": 128_000,
            }
            entry = await t.entry()
            assert (entry.kind, entry.spent, entry.uncertain, entry.request_id) == ("settled", COST, ZERO, "resp_1")
            assert headers["x-crewcap-cost-usd"] == COST.exact()
            assert t.balance().held == ZERO

    asyncio.run(main())


def test_a_chat_tells_its_usage_to_the_gateway_alone(tmp_path: Path, book: Book) -> None:
    """The stream is always asked for its usage; a client that did not ask for that chunk does not get it."""

    async def main() -> None:
        async with three(tmp_path, book, events(SAYS, STOPS, BILL, end=DONE)) as t:
            body = {"model": MODEL, "stream": True, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
            status, _, said = await t.post(CHAT, body)
            assert (status, said) == (200, events(SAYS, STOPS, end=DONE).body)
            assert t.provider.asked[0].fields == {
                **body,
                "service_tier": "default",
                "stream_options": {"include_usage": True},
            }
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", Money.usd("0.002"))
            _, _, said = await t.post(CHAT, {**body, "stream_options": {"include_usage": True}})
            assert said == events(SAYS, STOPS, BILL, end=DONE).body

    asyncio.run(main())


def test_a_request_that_the_cap_cannot_hold_is_refused_once_in_openais_shape(tmp_path: Path, book: Book) -> None:
    """A 400 with an error object is the one answer that stops Codex, opencode and Qwen Code at the first refusal."""

    async def main() -> None:
        async with three(tmp_path, book, whole(), cap="0.0001") as t:
            for path, body in (
                (RESPONSES, {"model": MODEL, "input": "hello"}),
                (CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}),
            ):
                status, headers, said = await t.post(path, body)
                error = error_of(said)
                assert (status, error["code"]) == (400, "budget_exhausted")
                assert headers["x-should-retry"] == "false"
                assert "raise it with" in error["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())


def test_a_request_may_go_on_from_an_answer_of_its_own_key_alone(tmp_path: Path, book: Book) -> None:
    """What is kept at the provider is not in the body: another key's answer could be of any size, and anybody's."""

    async def main() -> None:
        async with three(tmp_path, book, whole(), cap="50") as t:
            ask = {"model": MODEL, "input": "go on", "previous_response_id": "resp_1", "max_output_tokens": 100}
            status, _, said = await t.post(RESPONSES, ask)
            assert (status, error_of(said)["code"]) == (400, "not_allowed")
            assert "previous_response_id" in error_of(said)["message"]
            assert not t.provider.asked
            await t.post(RESPONSES, {"model": MODEL, "input": "hello", "max_output_tokens": 100})
            status, _, _ = await t.post(RESPONSES, ask)
            assert status == 200
            assert t.provider.asked[-1].fields["previous_response_id"] == "resp_1"
            assert (await t.entry()).held_at_first > Money.usd("10")  # the whole window, at the price of a long prompt
            status, _, _ = await t.post(RESPONSES, ask, key=t.new_key("50"))
            assert status == 400

    asyncio.run(main())
