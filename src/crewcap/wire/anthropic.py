"""The Messages API as a dialect: what a request may cost, the bytes that are forwarded, the meter, and saying no.

Which answer stops an agent at once was measured with Claude Code 2.1.330: 402 `billing_error` with
`x-should-retry: false` ends it after one request with our words shown; 401, 429 and 5xx are retried for minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crewcap.core.asks import Ask
from crewcap.core.pricing import Write
from crewcap.wire import (
    Answer,
    Malformed,
    Meter,
    Outline,
    RefusalKind,
    anthropic_request,
    outline_anthropic,
    strict_json,
)
from crewcap.wire.anthropic_known import COUNT_FIELDS
from crewcap.wire.anthropic_meter import StreamMeter, WholeMeter

_TIER = b'"standard_only"'
_BETAS = "anthropic-beta"

_REFUSALS: Mapping[RefusalKind, tuple[int, str, bool | None]] = {
    "budget": (402, "billing_error", False),
    "turns": (402, "billing_error", False),
    "wait": (429, "rate_limit_error", None),
    "malformed": (400, "invalid_request_error", False),
    "not_found": (404, "not_found_error", False),
    "method": (405, "invalid_request_error", False),
    "not_allowed": (400, "invalid_request_error", False),
    "key": (401, "authentication_error", False),
    "frozen": (402, "billing_error", False),
    "provider": (502, "api_error", None),
    "too_large": (413, "request_too_large", False),
    "unavailable": (503, "overloaded_error", None),
}
"""Status, error type, and whether the client is told to try again (None: as the status means)."""

_RETRY_AFTER_S: Mapping[RefusalKind, int] = {"wait": 10, "unavailable": 5}


class Anthropic:
    """Claude's own protocol, and that of everything that speaks it."""

    name = "anthropic"
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    streams_json = False
    has_count = True

    def __init__(self, *, reserve_geo: str = "us", strict_betas: bool = False) -> None:
        self._reserve_geo = reserve_geo
        self._strict_betas = strict_betas

    def ask(self, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str], path: str = "") -> Ask:
        """Read the whole body and the betas beside it."""
        del path
        rules = anthropic_request.Rules(allow=allow, reserve_geo=self._reserve_geo, strict_betas=self._strict_betas)
        return anthropic_request.read(body, _betas(headers), rules)

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        """Lower the top-level `max_tokens` and write the tier; a field of the same name further in is left alone."""
        values = {"service_tier": _TIER}
        if max_output is not None:
            values["max_tokens"] = str(max_output).encode()
        return strict_json.splice(body, values)

    def count_body(self, body: bytes, *, path: str = "") -> bytes:
        """The fields that the count call takes, each as received."""
        del path
        return strict_json.pick(body, COUNT_FIELDS)

    def read_count(self, answer: bytes) -> int:
        """`input_tokens` of a count call's answer; before any edit, whose trigger an estimate may pass by a hair."""
        said = strict_json.parse(answer).value
        edits = said.get("context_management")
        before = edits.get("original_input_tokens", 0) if isinstance(edits, dict) else 0
        return max(_count(said.get("input_tokens")), _count(before))

    def outline(self, body: bytes) -> Outline:
        """By tools, system and messages."""
        return outline_anthropic.read(body)

    def meter(self, *, stream: bool, write: Write = "1h", answers: int = 1) -> Meter:
        """A meter for a stream of events, or for one JSON body."""
        del answers
        return StreamMeter(write) if stream else WholeMeter(write)

    def sieve(self, ask: Ask) -> None:
        """Every byte goes on: usage is a part of each answer."""
        del ask

    def refuse(self, kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
        """An error in the shape of the Messages API."""
        status, error_type, should_retry = _REFUSALS[kind]
        headers = {"content-type": "application/json"}
        if should_retry is not None:
            headers["x-should-retry"] = "true" if should_retry else "false"
        wait_s = retry_after_s if retry_after_s is not None else _RETRY_AFTER_S.get(kind)
        if wait_s is not None and should_retry is None:
            headers["retry-after"] = str(wait_s)
        body = {"type": "error", "error": {"type": error_type, "message": message}}
        return Answer(
            status=status, headers=headers, body=json.dumps(body, ensure_ascii=False).encode(errors="replace")
        )


def _count(value: Any) -> int:
    if type(value) is int and value >= 0:
        return value
    raise Malformed("the provider's count has no input_tokens")


def _betas(headers: Mapping[str, str]) -> list[str]:
    """Every beta that the headers name; the header may stand more than once."""
    values = [value for name, value in headers.items() if name.lower() == _BETAS]
    return [beta.strip() for value in values for beta in value.split(",") if beta.strip()]
