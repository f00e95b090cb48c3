"""A provider's key that is out of order: why, until when, and for whom.

Three kinds of trouble (MONEY section 6 and 2.7):

    spend      the provider's own spend limit or credit is used up; until the date it names, else until a free
               probe (every minute, with the key's source read again) succeeds
    key, model the provider does not accept the key (401), or not for this model (403); probed likewise
    incident   an answer broke an assumption that holds rest on (a dearer model, more tokens than bound); for
               capped keys only, until somebody has looked and says `thaw`

Runs of a frozen key are told so once, finally (402, never retried): they wait for money instead of failing.

What providers say is data here. Only the beginning of an error message counts: its end may quote the request,
and an agent must not be able to freeze a key by asking for something that is quoted back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

Kind = Literal["spend", "key", "model", "incident"]

SPEND_TEXTS = (
    "you have reached your specified api usage limits",
    "you have reached your specified workspace api usage limits",
    "your credit balance is too low",
    "your prepayment credits are depleted",
    "your project has exceeded its monthly spending cap",
)
SPEND_CODES = frozenset(
    {
        "enforced_spend_limit_reached",
        # OpenAI
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        # Google
        "BILLING_DISABLED",
    }
)
KEY_CODES = frozenset(
    {
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_INVALID",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "API_KEY_SERVICE_BLOCKED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "SERVICE_DISABLED",
    }
)
KEY_TEXTS = ("api key expired", "api key not valid", "your api key was reported as leaked")
OWN_TEXTS = ("cachedcontent not found", "you do not have permission to access the file")
"""What Google answers with 403 although only something that the request names is missing."""
PER_DAY = "PerDay"
"""In the name of a quota of Google's that is back tomorrow; those by the minute are rate limits and freeze nothing."""
_REGAIN = re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2}) UTC)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a provider's key is frozen."""

    kind: Kind
    reason: str  # a sentence for people; the provider's own words where they are known to be its own
    until: datetime | None = None
    model: str = ""  # this model only; empty = all


class _Said(msgspec.Struct):
    type: str = ""
    message: str = ""
    code: object = None
    error_code: object = None
    details: object = None

    def names(self, codes: frozenset[str]) -> bool:
        """Whether one of these codes is said, wherever it stands."""
        details = list(self.details.values()) if isinstance(self.details, dict) else []
        reasons = [each.get("reason") for each in self._listed]
        said = (self.type, self.code, self.error_code, *details, *reasons)
        return any(isinstance(word, str) and word in codes for word in said)

    def begins(self, texts: tuple[str, ...]) -> bool:
        """Whether these are the message's first words."""
        return self.message.lower().startswith(texts)

    @property
    def is_of_the_day(self) -> bool:
        """Whether a quota is used up until tomorrow."""
        lists = [each.get("violations") for each in self._listed]
        violations = [each for one in lists if isinstance(one, list) for each in one if isinstance(each, dict)]
        return any(PER_DAY in str(each.get("quotaId")) for each in violations)

    @property
    def _listed(self) -> list[dict[str, object]]:
        return [each for each in self.details if isinstance(each, dict)] if isinstance(self.details, list) else []


class _Body(msgspec.Struct):
    error: _Said | None = None


def diagnose(status: int, body: bytes, *, model: str) -> Trouble | None:
    """What a plain error answer means for the provider's key; None where it is the request's own affair."""
    said = _read(body)
    if status == 401 or (status in {400, 403} and (said.names(KEY_CODES) or said.begins(KEY_TEXTS))):
        return Trouble(kind="key", reason=f"the provider does not accept its key ({status})")
    if status == 402 or (status in {400, 403, 429} and (said.begins(SPEND_TEXTS) or said.names(SPEND_CODES))):
        return Trouble(
            kind="spend", reason=said.message[:300] or f"the provider wants payment ({status})", until=_date(said)
        )
    if status == 429 and said.is_of_the_day:
        return Trouble(kind="spend", reason=f"the provider's daily quota of {model} is used up", model=model)
    if status == 403 and not said.begins(OWN_TEXTS):
        return Trouble(kind="model", reason=f"the provider's key may not use {model} (403)", model=model)
    return None


@dataclass(slots=True)
class Freezer:
    """Which providers are frozen, in one gateway."""

    _troubles: dict[str, dict[str, Trouble]] = field(default_factory=dict)  # provider -> model or "" -> why

    def freeze(self, provider: str, trouble: Trouble) -> bool:
        """Freeze a provider's key; whether that is news."""
        slot = "incident" if trouble.kind == "incident" else f"model {trouble.model}"
        troubles = self._troubles.setdefault(provider, {})
        is_news = slot not in troubles
        troubles[slot] = trouble
        return is_news

    def blocks(self, provider: str, model: str, *, is_capped: bool, now: datetime) -> Trouble | None:
        """Why a request may not be sent, if it may not."""
        for slot, trouble in tuple(self._troubles.get(provider, {}).items()):
            if trouble.until is not None and now >= trouble.until:
                del self._troubles[provider][slot]
            elif trouble.kind == "incident" and not is_capped:
                continue
            elif trouble.model in {"", model}:
                return trouble
        return None

    def to_probe(self) -> dict[str, tuple[Trouble, ...]]:
        """What a free probe may find to be over, by provider."""
        found = {
            provider: tuple(each for each in troubles.values() if each.kind != "incident" and each.until is None)
            for provider, troubles in self._troubles.items()
        }
        return {provider: troubles for provider, troubles in found.items() if troubles}

    def thaw(self, provider: str, trouble: Trouble | None = None) -> bool:
        """End one trouble of a provider, or all of them; whether there was one."""
        troubles = self._troubles.get(provider, {})
        over = [slot for slot, each in troubles.items() if trouble is None or each == trouble]
        for slot in over:
            del troubles[slot]
        return bool(over)

    def all(self) -> Mapping[str, tuple[Trouble, ...]]:
        """Everything that is frozen, for `status`."""
        return {provider: tuple(each.values()) for provider, each in self._troubles.items() if each}


def _read(body: bytes) -> _Said:
    try:
        return msgspec.json.decode(body, type=_Body).error or _Said()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Said()


def _date(said: _Said) -> datetime | None:
    """The moment that the provider names for being of use again."""
    match = _REGAIN.search(said.message)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}:00").replace(tzinfo=UTC)
    except ValueError:
        return None
