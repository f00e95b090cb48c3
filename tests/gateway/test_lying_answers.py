"""Answers whose usage cannot be true: never taken for less than what was held, and somebody is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.dialects import SSE, Said, Three, three
from tests.gateway.families import FAMILIES, PROVIDER, Family, error_of, every_family

from crewcap.core.money import Money
from crewcap.prices import Book


def lies(family: Family) -> dict[str, Any]:
    """Usages that cannot be true, in the family's own words; each prompt bound here is far below a million."""
    prompt, output = {
        "anthropic": ("input_tokens", "output_tokens"),
        "responses": ("input_tokens", "output_tokens"),
        "chat": ("prompt_tokens", "completion_tokens"),
        "gemini": ("promptTokenCount", "candidatesTokenCount"),
    }[family.name]
    return {
        "negative": {prompt: -9, output: 5},
        "negative output": {prompt: 9, output: -5},
        "beyond reason": {prompt: 10**12, output: 5},
        "broken": {prompt: 9.5, output: 5},
        "words": {prompt: "nine", output: 5},
        "no object": [9, 5],
        "absent": None,
        "empty": {},
        "no output": {prompt: 9},
        "above its bound": {prompt: 900_000, output: 5},
        "above its limit": {prompt: 9, output: 900_000},
    }


@every_family
def test_a_usage_that_lies_is_never_taken_for_less_than_the_hold(tmp_path: Path, book: Book, family: Family) -> None:
    """Told too much, it is booked in full; told nothing that can be, the hold stays charged."""
    name = "usageMetadata" if family.name == "gemini" else "usage"
    told = {key: value for key, value in family.answer.items() if key != name}

    async def main() -> None:
        async with three(tmp_path, book, family.said(), cap="500") as t:
            for what, usage in lies(family).items():
                answer = told if usage is None else {**told, name: usage}
                t.provider.answers = [Said(json.dumps(answer).encode())]
                before = t.charged()
                status, _, _ = await t.post(family.path, family.bytes())
                entry = await t.entry()
                assert (status, entry.spent + entry.uncertain) == (200, t.charged() - before)
                assert entry.incident or entry.kind == "uncertain", what
                if what == "no output":  # the prompt may be told for good: then all that it could have written
                    assert entry.uncertain >= Money.usd("0.01")
                else:
                    assert entry.spent + entry.uncertain >= entry.held_at_first, what
                await _is_frozen_for_capped_keys(t, family, what, is_expected=bool(entry.incident))

    asyncio.run(main())


async def _is_frozen_for_capped_keys(t: Three, family: Family, what: str, *, is_expected: bool) -> None:
    """Nothing more is sent until somebody has looked; here, somebody has."""
    asked = len(t.provider.asked)
    if is_expected:
        status, _, body = await t.post(family.path, family.bytes())
        assert status in {400, 402}, what
        assert "frozen" in error_of(family, body)[1]
        assert len(t.provider.asked) == asked
    for provider in ("anthropic", "openai", "gemini"):
        assert t.gateway.freezer.thaw(provider) == (is_expected and provider == PROVIDER[family.name])


def shrinking() -> dict[str, tuple[str, bytes]]:
    """Streams whose later word is less than an earlier one, by family."""
    claude = [
        {"type": "message_start", "message": {"model": "claude-sonnet-4-6", "usage": {"input_tokens": 900}}},
        {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 900, "output_tokens": 800}},
        {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 1, "output_tokens": 1}},
        {"type": "message_stop"},
    ]
    usages = [{"prompt_tokens": 900, "completion_tokens": 800}, {"prompt_tokens": 1, "completion_tokens": 1}]
    chat = [{"model": "gpt-5.5", "service_tier": "default", "choices": [], "usage": usage} for usage in usages]
    counts = [
        {"promptTokenCount": 900, "candidatesTokenCount": 800},
        {"promptTokenCount": 1, "candidatesTokenCount": 1},
    ]
    candidate = {"finishReason": "STOP", "index": 0}
    parts = [{"candidates": [candidate], "modelVersion": "gemini-2.5-pro", "usageMetadata": each} for each in counts]

    def stream(events: Iterable[Any]) -> bytes:
        return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    return {
        "anthropic": ("/v1/messages", stream(claude)),
        "chat": ("/v1/chat/completions", stream(chat) + b"data: [DONE]\n\n"),
        "gemini": ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", stream(parts)),
    }


@pytest.mark.parametrize("name", ["anthropic", "chat", "gemini"])
def test_a_usage_that_shrinks_keeps_its_hold_charged(tmp_path: Path, book: Book, name: str) -> None:
    """What was once reported stays charged."""
    family = next(each for each in FAMILIES if each.name == name)
    path, body = shrinking()[name]

    async def main() -> None:
        async with three(tmp_path, book, Said(body, kind=SSE)) as t:
            asked = family.bytes() if name == "gemini" else family.bytes(stream=True)
            status, _, _ = await t.post(path, asked)
            entry = await t.entry()
            assert status == 200
            assert "smaller" in entry.incident
            assert entry.spent + entry.uncertain >= entry.held_at_first

    asyncio.run(main())
