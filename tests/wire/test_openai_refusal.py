"""How crewcap says no to clients of OpenAI's APIs."""

from __future__ import annotations

import json

import pytest

from crewcap.wire import RefusalKind
from crewcap.wire.openai_refusal import refuse

STOP = {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("kind", "status", "error", "code", "headers"),
    [
        ("budget", 400, "invalid_request_error", "budget_exhausted", STOP),
        ("turns", 400, "invalid_request_error", "turns_exhausted", STOP),
        ("frozen", 400, "invalid_request_error", "provider_frozen", STOP),
        ("not_allowed", 400, "invalid_request_error", "not_allowed", STOP),
        ("malformed", 400, "invalid_request_error", "malformed_request", STOP),
        ("not_found", 404, "invalid_request_error", "not_found", STOP),
        ("key", 401, "invalid_request_error", "invalid_api_key", STOP),
        ("too_large", 413, "invalid_request_error", "request_too_large", STOP),
        ("wait", 429, "rate_limit_error", "rate_limit_exceeded", {"retry-after": "10"}),
        ("provider", 502, "server_error", "provider_failed", {}),
        ("unavailable", 503, "server_error", "unavailable", {"retry-after": "5"}),
    ],
)
def test_no_is_said_in_the_shape_that_agents_understand(
    kind: RefusalKind, status: int, error: str, code: str, headers: dict[str, str]
) -> None:
    """Nothing final is said with a status that Codex asks again after."""
    answer = refuse(kind, "run r has $0.01 left of $1.00: “ä”")
    assert (answer.status, answer.headers) == (status, {"content-type": "application/json"} | headers)
    assert json.loads(answer.body) == {
        "error": {"message": "run r has $0.01 left of $1.00: “ä”", "type": error, "param": None, "code": code}
    }


def test_the_wait_says_how_long() -> None:
    """The caller knows best; a final answer never invites to come again."""
    assert refuse("wait", "m", retry_after_s=42).headers["retry-after"] == "42"
    assert refuse("provider", "m", retry_after_s=7).headers["retry-after"] == "7"
    assert "retry-after" not in refuse("budget", "m", retry_after_s=42).headers


def test_a_message_of_broken_letters_is_sent_all_the_same() -> None:
    """A file's name may be anything."""
    assert b"error" in refuse("malformed", "a\udcffb").body
