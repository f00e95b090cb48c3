"""A usage that was kept, read once more: the ledger stores the provider's own words, an audit begins with them.

The words are put into the smallest whole answer of their dialect and metered by the meter that read them the first
time. What a usage does not say itself (which model, how long a write of untold lifetime lives) is what was booked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crewcap.core.pricing import Usage, Write
from crewcap.wire import ENDPOINTS, Reading

_WRITES: tuple[Write, ...] = ("5m", "1h", "none")


def reread(dialect: str, raw_usage: str, *, model: str, booked: Usage) -> Reading | None:
    """The reading that these words give; None where they are no usage of this dialect, or were cut when kept."""
    raw = _parsed(raw_usage)
    answer = _ANSWERS[_form(dialect, raw)](model, raw) if raw and dialect in ENDPOINTS else None
    if answer is None or raw is None:
        return None
    path = _path(dialect, raw)
    found = [_metered(dialect, path, answer, write) for write in _WRITES]
    told = [reading for reading in found if reading.usage is not None]
    same = [reading for reading in told if _is_booked(reading, booked)]
    return next(iter(same or told), None)


def _parsed(raw_usage: str) -> dict[str, Any] | None:
    try:
        raw = json.loads(raw_usage)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _form(dialect: str, raw: Mapping[str, Any]) -> str:
    return "chat" if dialect == "openai" and "prompt_tokens" in raw else dialect


def _path(dialect: str, raw: Mapping[str, Any]) -> str:
    """The path whose answers look so."""
    paths = list(ENDPOINTS[dialect])
    return next(path for path in paths if ("chat" in path) == (_form(dialect, raw) == "chat"))


def _metered(dialect: str, path: str, answer: Mapping[str, Any], write: Write) -> Reading:
    meter = ENDPOINTS[dialect][path]().meter(stream=False, write=write)
    meter.feed(json.dumps(answer).encode())
    return meter.close()


def _is_booked(reading: Reading, booked: Usage) -> bool:
    """Whether the ledger has the same prompt; an answer that was cut is booked without its output."""
    usage = reading.usage
    kinds = ("input", "cache_read", "write_5m", "write_1h")
    return usage is not None and all(getattr(usage, kind) == getattr(booked, kind) for kind in kinds)


_ANSWERS = {
    "anthropic": lambda model, raw: {"type": "message", "model": model, "usage": raw},
    "openai": lambda model, raw: {"object": "response", "status": "completed", "model": model, "usage": raw},
    "chat": lambda model, raw: {
        "object": "chat.completion",
        "model": model,
        "choices": [{"finish_reason": "stop"}],
        "usage": raw,
    },
    "gemini": lambda model, raw: {
        "modelVersion": model,
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": raw,
    },
}
