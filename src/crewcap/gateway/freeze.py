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
)
SPEND_CODES = frozenset({"enforced_spend_limit_reached"})
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

    @property
    def names_spend(self) -> bool:
        """Whether a code says that spending is limited, wherever it stands."""
        details = list(self.details.values()) if isinstance(self.details, dict) else []
        return any(
            isinstance(word, str) and word in SPEND_CODES for word in (self.type, self.code, self.error_code, *details)
        )


class _Body(msgspec.Struct):
    error: _Said | None = None


def diagnose(status: int, body: bytes, *, model: str) -> Trouble | None:
    """What a plain error answer means for the provider's key; None where it is the request's own affair."""
    said = _read(body)
    text = said.message.lower()
    if status == 401:
        return Trouble(kind="key", reason="the provider does not accept its key (401)")
    if status == 402 or (status in {400, 403, 429} and text.startswith(SPEND_TEXTS)):
        return Trouble(kind="spend", reason=said.message[:300] or "the provider wants payment (402)", until=_date(said))
    if status == 429 and said.names_spend:
        return Trouble(kind="spend", reason=said.message[:300] or "the provider's spend limit", until=_date(said))
    if status == 403:
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
