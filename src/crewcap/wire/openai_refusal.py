"""How crewcap says no to clients of OpenAI's APIs.

Measured with Codex 0.169, opencode, Qwen Code, Copilot and aider: a 400 with an error object stops each of them at
the first refusal, with our words shown. Codex asks again five times after 401, 402 and 403, thirty times after 5xx,
and hides the text of a 429 that names a quota; so nothing final is said with any of those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from crewcap.wire import Answer, RefusalKind

_REFUSALS: Mapping[RefusalKind, tuple[int, str, str, bool | None]] = {
    "budget": (400, "invalid_request_error", "budget_exhausted", False),
    "turns": (400, "invalid_request_error", "turns_exhausted", False),
    "wait": (429, "rate_limit_error", "rate_limit_exceeded", None),
    "malformed": (400, "invalid_request_error", "malformed_request", False),
    "not_found": (404, "invalid_request_error", "not_found", False),
    "method": (405, "invalid_request_error", "method_not_allowed", False),
    "not_allowed": (400, "invalid_request_error", "not_allowed", False),
    "key": (401, "invalid_request_error", "invalid_api_key", False),
    "frozen": (400, "invalid_request_error", "provider_frozen", False),
    "provider": (502, "server_error", "provider_failed", None),
    "too_large": (413, "invalid_request_error", "request_too_large", False),
    "unavailable": (503, "server_error", "unavailable", None),
}
"""Status, error type and code, and whether the client is told to try again (None: as the status means)."""

_RETRY_AFTER_S: Mapping[RefusalKind, int] = {"wait": 10, "unavailable": 5}


def refuse(kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
    """An error in the shape of OpenAI's APIs."""
    status, error_type, code, should_retry = _REFUSALS[kind]
    headers = {"content-type": "application/json"}
    if should_retry is not None:
        headers["x-should-retry"] = "true" if should_retry else "false"
    wait_s = retry_after_s if retry_after_s is not None else _RETRY_AFTER_S.get(kind)
    if wait_s is not None and should_retry is None:
        headers["retry-after"] = str(wait_s)
    body = {"error": {"message": message, "type": error_type, "param": None, "code": code}}
    return Answer(status=status, headers=headers, body=json.dumps(body, ensure_ascii=False).encode(errors="replace"))
