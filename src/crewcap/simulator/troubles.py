"""How the provider says no: every refusal that the product has to understand, in the provider's own words.

The words here are Anthropic's; the other APIs' files translate them by name.

Spend limits come in four shapes (MONEY 6): two kinds of 400, a 402, and a 429 that says `enforced_spend_limit_reached`.
None of these answers is billed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A refusal, or an error event inside a stream."""

    status: int
    kind: str  # the provider's error type
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""  # `error_code`, where the provider adds one
    name: str = ""  # as scripts name it; '' for one of their own

    def body(self, request_id: str) -> bytes:
        """The error as the provider writes it."""
        return json.dumps(self.event(request_id)).encode()

    def event(self, request_id: str) -> dict[str, object]:
        """The same as the data of an `error` event."""
        error = {"type": self.kind, "message": self.message, **({"error_code": self.code} if self.code else {})}
        return {"type": "error", "error": error, "request_id": request_id}


_TROUBLES: Mapping[str, Trouble] = {
    "usage_limit": Trouble(
        status=400,
        kind="invalid_request_error",
        message="You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    ),
    "credit_balance": Trouble(
        status=400,
        kind="invalid_request_error",
        message="Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    "bad_request": Trouble(status=400, kind="invalid_request_error", message="messages: something is not right"),
    "authentication": Trouble(status=401, kind="authentication_error", message="invalid x-api-key"),
    "billing": Trouble(
        status=402, kind="billing_error", message="There is an issue with your billing or payment information."
    ),
    "permission": Trouble(
        status=403, kind="permission_error", message="Your API key does not have permission to use this model."
    ),
    "not_found": Trouble(status=404, kind="not_found_error", message="model: no such model"),
    "too_large": Trouble(
        status=413, kind="request_too_large", message="Request exceeds the maximum allowed number of bytes"
    ),
    "rate_limit": Trouble(
        status=429,
        kind="rate_limit_error",
        message="This request would exceed your account's rate limit. Please try again later.",
        headers={"retry-after": "2"},
    ),
    "spend_limit": Trouble(
        status=429,
        kind="rate_limit_error",
        message="Your organization has reached its monthly spend limit.",
        code="enforced_spend_limit_reached",
    ),
    "flex_unavailable": Trouble(
        status=429, kind="rate_limit_error", message="There is no capacity in this service tier at the moment."
    ),
    "api_error": Trouble(status=500, kind="api_error", message="Internal server error"),
    "unavailable": Trouble(status=503, kind="api_error", message="Service unavailable"),
    "overloaded": Trouble(status=529, kind="overloaded_error", message="Overloaded"),
}
TROUBLES: Mapping[str, Trouble] = {name: replace(trouble, name=name) for name, trouble in _TROUBLES.items()}
KIND_OF_STATUS: Mapping[int, str] = {trouble.status: trouble.kind for trouble in TROUBLES.values()}
