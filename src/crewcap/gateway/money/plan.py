"""Requests that a subscription pays for: their money is notional, and counts against no budget (MONEY 1, 7).

A plan bills nothing for an answer, until it is used up: then some plans say no, and some go on at API prices, as
*overage*, which is real money. So an answer must tell who paid for it. Anthropic's do, in headers:

    anthropic-ratelimit-unified-status           allowed, allowed_warning, or rejected: the plan's limit is reached
    anthropic-ratelimit-unified-overage-in-use   true: this answer was paid as overage
    anthropic-ratelimit-unified-overage-status   allowed beside `rejected`: the answer was given all the same
    anthropic-ratelimit-unified-reset            when the plan is open again, in seconds since 1970

What follows:

    plan      the answer is booked as notional, and the credential is known to tell: its next requests hold no money
    overage   it is booked as spent, above its hold of nothing, and the credential is frozen until the plan opens again
    limit     the credential is frozen until then
    untold    it is booked as spent. Requests of a credential that does not tell (or has not yet, since the start) are
              held like any metered ones, so nothing can be billed that no budget had room for

Rates and counts (`tokens`, `runs`, `hours`, `rpm`...) hold for both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from crewcap.core.money import ZERO
from crewcap.gateway.provider.freeze import Trouble
from crewcap.stores import Settlement

OAUTH_BETA = "oauth-2025-04-20"
UNKNOWN_RESET = timedelta(hours=1)  # until somebody tells better
LONGEST_RESET = timedelta(days=8)  # a plan's longest window is a week

_PREFIX = "anthropic-ratelimit-unified-"
_OPEN = frozenset({"allowed", "allowed_warning"})

Payer = Literal["plan", "overage", "limit", "untold"]


def payer(headers: Mapping[str, str]) -> Payer:
    """Who paid for an answer, by its own headers."""
    status = _said(headers, "status")
    if _said(headers, "overage-in-use") == "true":
        return "overage"
    if status == "rejected":
        return "overage" if _said(headers, "overage-status") in _OPEN else "limit"
    return "plan" if status in _OPEN else "untold"


def trouble(headers: Mapping[str, str], *, now: datetime) -> Trouble | None:
    """Why a subscription's credential rests, if an answer says that it must."""
    match payer(headers):
        case "overage":
            return Trouble(
                kind="spend", reason="the plan is used up and answers are billed", until=_reset(headers, now)
            )
        case "limit":
            return Trouble(kind="spend", reason="the plan's limit is reached", until=_reset(headers, now))
        case _:
            return None


def plan_key(key_header: Callable[[str], Mapping[str, str]]) -> Callable[[str], Mapping[str, str]]:
    """How a provider wants to see a subscription's token, where it is another way than for a key."""

    def headers(token: str) -> Mapping[str, str]:
        known = key_header(token)
        if "x-api-key" in known:  # Anthropic: an OAuth token is shown as a bearer's, under a beta
            return {"authorization": f"Bearer {token}", "anthropic-beta": OAUTH_BETA}
        return known

    return headers


@dataclass(slots=True)
class Plans:
    """Which credentials have told who pays, since this gateway started."""

    _tell: dict[str, bool] = field(default_factory=dict)

    def heard(self, credential: str, status: int, headers: Mapping[str, str]) -> None:
        """An answer came; an error of the provider's own may be without any of its usual headers."""
        found = payer(headers)
        if found != "untold" or status < 400:
            self._tell[credential] = found != "untold"

    def pays(self, credential: str) -> bool:
        """Whether a request may be sent without holding money for it."""
        return self._tell.get(credential, False)


def notional(closed: Settlement, paid_by: Payer) -> Settlement:
    """A subscription's settlement as it is booked."""
    if paid_by in {"overage", "untold"} or closed.kind == "released":
        return closed
    return replace(
        closed,
        spent=ZERO,
        uncertain=ZERO,
        notional=closed.spent + closed.uncertain,
        incident="",  # what a hold rested on does not matter where none was needed
    )


def _said(headers: Mapping[str, str], name: str) -> str:
    return headers.get(_PREFIX + name, "").strip().lower()


def _reset(headers: Mapping[str, str], now: datetime) -> datetime:
    """When the plan is open again, by its own word as far as that can be."""
    try:
        said = datetime.fromtimestamp(float(_said(headers, "reset")), UTC)
    except (ValueError, OverflowError, OSError):
        return now + UNKNOWN_RESET
    return said if now < said <= now + LONGEST_RESET else now + UNKNOWN_RESET
