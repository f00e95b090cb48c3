"""The Gemini API as a dialect: what a request may cost, the bytes that are forwarded, the meter, and saying no.

Which answer stops an agent at once was measured with Gemini CLI 0.61.0: 400 in Google's error shape ends it after one
request with our words shown; plain text loses them, and 429 and 5xx are asked again for minutes.

Google's `error.code` is the HTTP status as a number, and SDKs read it as one. What a program looks for stands where
Google puts it, in an `ErrorInfo`: `"reason": "budget_exhausted"`, and `"code": "budget_exhausted"` in its metadata.
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
    Sieve,
    gemini_request,
    lenient,
    outline_gemini,
    strict_json,
)
from crewcap.wire.gemini_meter import StreamMeter, WholeMeter

_REFUSALS: Mapping[RefusalKind, tuple[int, str, str]] = {
    "budget": (400, "FAILED_PRECONDITION", "budget_exhausted"),
    "turns": (400, "FAILED_PRECONDITION", "turn_limit"),
    "wait": (429, "RESOURCE_EXHAUSTED", "budget_held"),
    "malformed": (400, "INVALID_ARGUMENT", "malformed"),
    "not_found": (404, "NOT_FOUND", "not_found"),
    "method": (405, "INVALID_ARGUMENT", "method_not_allowed"),
    "not_allowed": (400, "INVALID_ARGUMENT", "not_allowed"),
    "key": (401, "UNAUTHENTICATED", "key_refused"),
    "frozen": (400, "FAILED_PRECONDITION", "provider_frozen"),
    "provider": (502, "UNAVAILABLE", "provider_failed"),
    "too_large": (413, "INVALID_ARGUMENT", "too_large"),
    "unavailable": (503, "UNAVAILABLE", "crewcap_unavailable"),
}
"""HTTP status, Google's name for it, and our reason."""

_RETRY_AFTER_S: Mapping[RefusalKind, int] = {"wait": 10, "unavailable": 5}
_MAY_COME_AGAIN: frozenset[RefusalKind] = frozenset({"wait", "provider", "unavailable"})
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY = "type.googleapis.com/google.rpc.RetryInfo"


class Gemini:
    """Gemini's own protocol, as the Gemini CLI and Google's SDKs speak it."""

    name = "gemini"
    ping = b""  # Google's SDK takes a comment for a piece of JSON
    streams_json = True
    has_count = True

    def ask(self, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str], path: str = "") -> Ask:
        """Read the path, which names the model, and the whole body."""
        del headers
        return gemini_request.read(body, path, allow)

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        """Write the limit into `generationConfig` and replace a tier; nothing else is touched."""
        return gemini_request.rewrite(body, max_output)

    def count_body(self, body: bytes, *, path: str = "") -> bytes:
        """The request as the count call takes it."""
        return gemini_request.count_body(body, path)

    def read_count(self, answer: bytes) -> int:
        """`totalTokens` of a count call's answer."""
        said: Any = strict_json.parse(answer).value.get("totalTokens")
        if not lenient.is_count(said):
            raise Malformed("the provider's count has no totalTokens")
        return int(said)

    def outline(self, body: bytes) -> Outline | None:
        """By tools, system instruction and contents."""
        return outline_gemini.read(body)

    def meter(self, *, stream: bool, write: Write = "1h", answers: int = 1) -> Meter:
        """A meter for a stream, of events or as a JSON list, or for one JSON body. This API sells no cache writes."""
        del write
        return StreamMeter(answers) if stream else WholeMeter(answers)

    def sieve(self, ask: Ask) -> Sieve | None:
        """Nothing is asked for on the client's behalf, so nothing is held back."""
        del ask
        return None

    def refuse(self, kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
        """An error in Google's shape."""
        status, name, reason = _REFUSALS[kind]
        headers = {"content-type": "application/json; charset=UTF-8"}
        info = {"@type": _INFO, "reason": reason, "domain": "crewcap", "metadata": {"code": reason}}
        details: list[dict[str, Any]] = [info]
        wait_s = retry_after_s if retry_after_s is not None else _RETRY_AFTER_S.get(kind)
        if wait_s is not None and kind in _MAY_COME_AGAIN:
            headers["retry-after"] = str(wait_s)
            details.append({"@type": _RETRY, "retryDelay": f"{wait_s}s"})
        body = {"error": {"code": status, "message": message, "status": name, "details": details}}
        return Answer(
            status=status, headers=headers, body=json.dumps(body, ensure_ascii=False).encode(errors="replace")
        )
