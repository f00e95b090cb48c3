"""What OpenAI's two APIs have in common: limits, tiers, reasoning, the ids of calls, and how they say no."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from crewcap.core.pricing import RateCard
from crewcap.simulator.answers import Answer
from crewcap.simulator.conversation import Asked, BadRequest
from crewcap.simulator.family import Refused
from crewcap.simulator.troubles import TROUBLES, Trouble

MOST_OUTPUT = 128_000  # where the price book does not know the model's own
TIERS = {"flex": "flex", "priority": "priority"}
TIER_WORDS = {"standard": "default", "batch": "default"}

_REASONS = re.compile(r"(?:o\d|gpt-(?:[5-9]|\d\d))")
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_WORDS: Mapping[str, Trouble] = {
    "usage_limit": Trouble(status=429, kind="insufficient_quota", code="insufficient_quota", message=_QUOTA),
    "credit_balance": Trouble(status=429, kind="insufficient_quota", code="insufficient_quota", message=_QUOTA),
    "spend_limit": Trouble(
        status=400,
        kind="invalid_request_error",
        code="billing_hard_limit_reached",
        message="Billing hard limit has been reached",
    ),
    "billing": Trouble(
        status=429,
        kind="billing_not_active",
        code="billing_not_active",
        message="Your account is not active, please check your billing details on our website.",
    ),
    "bad_request": Trouble(status=400, kind="invalid_request_error", message="Something is not right."),
    "authentication": Trouble(
        status=401, kind="invalid_request_error", code="invalid_api_key", message="Incorrect API key provided."
    ),
    "permission": Trouble(
        status=403, kind="invalid_request_error", code="permission_denied", message="You may not use this model."
    ),
    "not_found": Trouble(
        status=404,
        kind="invalid_request_error",
        code="model_not_found",
        message="The model does not exist or you do not have access to it.",
    ),
    "too_large": Trouble(status=413, kind="invalid_request_error", message="The request body is too large."),
    "rate_limit": Trouble(
        status=429,
        kind="tokens",
        code="rate_limit_exceeded",
        message="Rate limit reached for this organization on tokens per min (TPM). Please try again in 2s.",
        headers={"retry-after": "2", "retry-after-ms": "2000"},
    ),
    "flex_unavailable": Trouble(
        status=429,
        kind="server_error",
        code="resource_unavailable",
        message="The requested resources are not available at the moment.",
    ),
    "api_error": Trouble(
        status=500, kind="server_error", message="The server had an error while processing your request."
    ),
    "unavailable": Trouble(status=503, kind="server_error", message="The server is not ready yet."),
    "overloaded": Trouble(status=503, kind="server_error", message="The engine is currently overloaded."),
}


def translated(trouble: Trouble, words: Mapping[str, Trouble]) -> Trouble:
    """A trouble in a provider's own words; what was said for one request alone stays as it was said."""
    own = words.get(trouble.name)
    if own is None:
        return trouble
    is_plain = trouble == TROUBLES[trouble.name]
    return Trouble(
        status=own.status,
        kind=own.kind,
        code=own.code,
        message=own.message if is_plain else trouble.message,
        headers=own.headers,
    )


def refusal(trouble: Trouble) -> Refused:
    """An error answer."""
    own = translated(trouble, _WORDS)
    headers = {"content-type": "application/json", **own.headers}
    return Refused(status=own.status, headers=headers, body=json.dumps({"error": error(own)}).encode())


def error(trouble: Trouble) -> dict[str, Any]:
    """An error object."""
    own = translated(trouble, _WORDS)
    return {"message": own.message, "type": own.kind, "param": None, "code": own.code or None}


def limit(asked: Asked, card: RateCard, *, field: str) -> int:
    """The output limit that was said, or else the model's own."""
    most = card.max_output or MOST_OUTPUT
    if asked.max_tokens > most:
        raise BadRequest(f"{field} is too large: {asked.max_tokens}. This model supports at most {most} tokens.")
    return asked.max_tokens or most


def positive(data: Mapping[str, Any], key: str, *, least: int = 1) -> int:
    """A limit; 0 where none was said."""
    value = data.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"Invalid type for '{key}': expected an integer.")
    if value < least:
        raise BadRequest(f"Invalid '{key}': integer below minimum value. Expected a value >= {least}, but got {value}.")
    return value


def named(data: Mapping[str, Any]) -> str:
    """The model."""
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("Missing required parameter: 'model'.")
    return model


def reasons(model: str, effort: Any) -> bool:
    """Whether the model thinks before it says anything."""
    return bool(_REASONS.match(model)) and effort != "none"


def tier(data: Mapping[str, Any]) -> str:
    """The tier that a request is billed at, in the price book's words."""
    return TIERS.get(str(data.get("service_tier")), "standard")


def tier_told(answer: Answer) -> str:
    """The tier in OpenAI's words."""
    return TIER_WORDS.get(answer.modifiers.tier, answer.modifiers.tier)


def call_name(identifier: str) -> str:
    """The id of a call as OpenAI writes it."""
    return f"call_{identifier.removeprefix('toolu_')}"


def opened(arguments: Any) -> Any:
    """The input of a call that was sent back: the value, where its text is JSON."""
    try:
        return json.loads(arguments, parse_float=str) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


def is_subagent(headers: Mapping[str, str], data: Mapping[str, Any]) -> bool:
    """Codex names its sub-agents in headers, which a gateway may drop, and in the body's metadata."""
    metadata = data.get("client_metadata")
    said = [headers, metadata if isinstance(metadata, dict) else {}]
    return any(name in each for each in said for name in ("x-openai-subagent", "x-codex-parent-thread-id"))


def listed(names: list[str]) -> dict[str, Any]:
    """The models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in names]
    return {"object": "list", "data": data}
