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


_OUTPUT = {
    "anthropic": "output_tokens",
    "responses": "output_tokens",
    "chat": "completion_tokens",
    "gemini": "candidatesTokenCount",
}


def streamed(family: Family) -> str:
    """The family's honest answer as a stream."""
    match family.name:
        case "anthropic":
            start = {"type": "message_start", "message": {**family.answer, "usage": {"input_tokens": 9}}}
            events = [start, {"type": "message_delta", "usage": family.answer["usage"]}, {"type": "message_stop"}]
        case "responses":
            events = [{"type": "response.completed", "response": family.answer}]
        case _:
            events = [dict(family.answer)]
    done = "data: [DONE]\n\n" if family.name == "chat" else ""
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + done


def torn(family: Family, said: str) -> dict[str, str]:
    """An honest answer of 5 tokens, made to say besides that it was 1."""
    name = _OUTPUT[family.name]
    usage = '"usageMetadata"' if family.name == "gemini" else '"usage"'
    at = said.rindex(usage)
    end = said.index("}", at) + 1
    once, honest = f'"{name}": 5', said[at:end]
    low = honest.replace(once, f'"{name}": 1')
    return {
        "low last": said.replace(once, f'{once}, "{name}": 1'),
        "low first": said.replace(once, f'"{name}": 1, {once}'),
        "in escapes": said.replace(once, f'{once}, "\\u00{ord(name[0]):x}{name[1:]}": 1'),
        "another usage": f"{said[:end]}, {low}{said[end:]}",
        "another usage first": f"{said[:at]}{low}, {said[at:]}",
        "another usage, no object": f"{said[:end]}, {usage}: 7{said[end:]}",
    }


@every_family
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_of_a_usage_that_is_told_twice_the_dearer_one_is_booked_and_somebody_is_told(
    tmp_path: Path, book: Book, family: Family, *, is_stream: bool
) -> None:
    """Most readers of JSON take the last of two words; the bill may be the other one."""
    path = family.path
    if is_stream and family.name == "gemini":
        path = path.replace("generateContent", "streamGenerateContent") + "?alt=sse"
    asked = family.bytes(stream=True) if is_stream and family.name != "gemini" else family.bytes()

    async def main() -> None:
        async with three(tmp_path, book, family.said(), cap="500") as t:
            for what, said in torn(family, streamed(family) if is_stream else json.dumps(family.answer)).items():
                t.provider.answers = [Said(said.encode(), kind=SSE) if is_stream else Said(said.encode())]
                status, _, _ = await t.post(path, asked)
                entry = await t.entry()
                assert (status, entry.usage.output) == (200, 5), what
                assert "twice" in entry.incident, what
                assert entry.spent + entry.uncertain >= entry.held_at_first, what
                await _is_frozen_for_capped_keys(t, family, what, is_expected=True)

    asyncio.run(main())
