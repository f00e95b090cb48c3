"""One stream of each dialect as its provider writes it: pings, comments, thinking, a tool call, wide letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crewcap.core.money import Money
from crewcap.wire import ENDPOINTS, Dialect


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """A request, its answer, and what the provider billed."""

    name: str
    dialect: Callable[[], Dialect]
    prices: str
    path: str
    ask: Mapping[str, Any]
    body: bytes
    billed: Money
    most: Money  # the most that it could bill for an answer that broke off
    headers: Mapping[str, str] = field(default_factory=dict)
    tail: int = 4  # bytes at the end without which it is whole already
    figures: tuple[bytes, ...] = ()  # members of its usage that decide the bill: prompt, cache, output

    @property
    def asked(self) -> bytes:
        return json.dumps(self.ask).encode()


def _sse(*events: tuple[str, Any], end: str = "\n") -> bytes:
    """Events with names, comments where the name is a colon, bare data where there is none."""
    blocks = []
    for name, data in events:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        lines = [f": {text}"] if name == ":" else [*([f"event: {name}"] if name else []), f"data: {text}"]
        blocks.append(end.join(lines) + end * 2)
    return "".join(blocks).encode()


_TEXT = "Ein Satz über Kosten, 漢字 und 🙂. " * 90
_ANTHROPIC_USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 2_048,
    "cache_read_input_tokens": 1_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2_048, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
    "inference_geo": "global",
}

ANTHROPIC = Stream(
    name="anthropic",
    dialect=ENDPOINTS["anthropic"]["/v1/messages"],
    prices="anthropic",
    path="/v1/messages",
    ask={
        "model": "claude-sonnet-4-6",
        "max_tokens": 1_000,
        "stream": True,
        "system": [{"type": "text", "text": _TEXT, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "Go on."}],
    },
    body=_sse(
        (
            "message_start",
            {
                "type": "message_start",
                "message": {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": "claude-sonnet-4-6",
                    "content": [],
                    "stop_reason": None,
                    "usage": {**_ANTHROPIC_USAGE, "output_tokens": 3},
                },
            },
        ),
        ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}}),
        ("ping", {"type": "ping"}),
        ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"thinking": '"usage": 漢字 🙂'}}),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (":", "keep-alive"),
        (
            "content_block_delta",
            {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"a": "\\u00e9'}},
        ),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {**_ANTHROPIC_USAGE, "output_tokens": 87},
            },
        ),
        ("message_stop", {"type": "message_stop"}),
    ),
    billed=Money.usd("0.009321"),  # 12 x $3, 2,048 x $3.75, 1,000 x $0.30, 87 x $15 the million
    most=Money.usd("0.023016"),  # 1,000 x $15 in place of 87
    figures=(b'"input_tokens":12', b'"cache_read_input_tokens":1000', b'"output_tokens":87'),
)


def _response(**fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "model": "gpt-5.5-2026-04-23", "output": [], **fields}


RESPONSES = Stream(
    name="responses",
    dialect=ENDPOINTS["openai"]["/v1/responses"],
    prices="openai",
    path="/v1/responses",
    ask={"model": "gpt-5.5", "max_output_tokens": 1_000, "stream": True, "input": _TEXT},
    body=_sse(
        (
            "response.created",
            {"type": "response.created", "response": _response(service_tier="auto", status="in_progress", usage=None)},
        ),
        ("response.output_item.added", {"type": "response.output_item.added", "item": {"type": "reasoning"}}),
        ("response.reasoning_summary_text.delta", {"type": "x", "delta": '"response": {"usage"', "obfuscation": "aB3"}),
        ("response.output_text.delta", {"type": "response.output_text.delta", "delta": "漢字 🙂"}),
        ("response.function_call_arguments.delta", {"type": "x", "delta": '{"cmd":"ls'}),
        (
            "response.completed",
            {
                "type": "response.completed",
                "response": _response(
                    service_tier="default",
                    status="completed",
                    usage={
                        "input_tokens": 700,
                        "input_tokens_details": {"cached_tokens": 512},
                        "output_tokens": 87,
                        "output_tokens_details": {"reasoning_tokens": 40},
                        "total_tokens": 787,
                    },
                ),
            },
        ),
    ),
    billed=Money.usd("0.003806"),  # 188 x $5, 512 x $0.50, 87 x $30 the million
    most=Money.usd("0.031196"),
    figures=(b'"input_tokens":700', b'"cached_tokens":512', b'"output_tokens":87'),
)


def _chunk(*choices: dict[str, Any], usage: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    plain = {"id": "chat_1", "object": "chat.completion.chunk", "model": "gpt-5.5", "service_tier": "default"}
    return "", {**plain, "choices": list(choices), "usage": usage}


CHAT = Stream(
    name="chat",
    dialect=ENDPOINTS["openai"]["/v1/chat/completions"],
    prices="openai",
    path="/v1/chat/completions",
    ask={
        "model": "gpt-5.5",
        "max_completion_tokens": 1_000,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": _TEXT}],
    },
    body=_sse(
        _chunk({"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}),
        (":", "OPENROUTER PROCESSING"),
        _chunk({"index": 0, "delta": {"content": '漢字 🙂 "usage":'}, "finish_reason": None}),
        _chunk({"index": 0, "delta": {}, "finish_reason": "stop"}),
        _chunk(
            usage={
                "prompt_tokens": 700,
                "prompt_tokens_details": {"cached_tokens": 512},
                "completion_tokens": 87,
                "completion_tokens_details": {"reasoning_tokens": 40},
                "total_tokens": 787,
            }
        ),
        ("", "[DONE]"),
    ),
    billed=Money.usd("0.003806"),
    most=Money.usd("0.031196"),
    figures=(b'"prompt_tokens":700', b'"cached_tokens":512', b'"completion_tokens":87'),
)


def _part(text: str, usage: dict[str, int], **candidate: Any) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **candidate}],
        "usageMetadata": {**usage, "trafficType": "ON_DEMAND"},
        "modelVersion": "gemini-2.5-pro",
        "responseId": "r1",
    }


_PARTS = (
    _part("", {"promptTokenCount": 690, "thoughtsTokenCount": 20, "totalTokenCount": 710}, thought=True),
    _part(
        '漢字 🙂 "usageMetadata" }]',
        {
            "promptTokenCount": 700,
            "cachedContentTokenCount": 512,
            "candidatesTokenCount": 9,
            "thoughtsTokenCount": 40,
            "totalTokenCount": 749,
        },
    ),
    _part(
        "!",
        {
            "promptTokenCount": 700,
            "cachedContentTokenCount": 512,
            "candidatesTokenCount": 47,
            "thoughtsTokenCount": 40,
            "totalTokenCount": 787,
        },
        finishReason="STOP",
    ),
)
_GEMINI: dict[str, Any] = {
    "dialect": ENDPOINTS["gemini"]["/v1beta/models/{model}:streamGenerateContent"],
    "prices": "google",
    "path": "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
    "ask": {
        "contents": [{"role": "user", "parts": [{"text": _TEXT}]}],
        "generationConfig": {"maxOutputTokens": 1_000, "thinkingConfig": {"thinkingBudget": 128}},
    },
    "billed": Money.usd("0.001169"),  # 188 x $1.25, 512 x $0.125, 87 x $10 the million
    "most": Money.usd("0.011579"),  # 1,000 and 128 of thinking in place of 87
    "figures": (b'"promptTokenCount":700', b'"cachedContentTokenCount":512', b'"candidatesTokenCount":47'),
}

GEMINI = Stream(name="gemini", body=_sse(*(("", part) for part in _PARTS), end="\r\n"), **_GEMINI)
GEMINI_LIST = Stream(
    name="gemini-list",
    body=b"["
    + b",\r\n".join(json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode() for part in _PARTS)
    + b"]",
    **_GEMINI,
)
