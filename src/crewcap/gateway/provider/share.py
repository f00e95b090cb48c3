"""A part of the provider's own rate limits, and not more: `share = "50%"`.

Providers tell with each answer what is left of their limits and when these are whole again:

    Anthropic   anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}
    OpenAI      x-ratelimit-{limit,remaining,reset}-{requests,tokens}

With a share of 50 % a request waits while less than the other 50 % of any of them is left, until that limit is whole
again or an answer tells of more. So whoever else uses the organisation's limits finds the other half there. Limits
are kept by key and model, as providers count them. Requests that were let out since the last word are counted too;
their tokens are not, as nobody knows them yet: a share is a courtesy to colleagues, never a promise about money.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

WHOLE = 100
REMEMBERED = 512
LONGEST_S = 86_400.0

_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI = ("requests", "tokens")
_PART = re.compile(r"(\d{1,7}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One of a provider's limits, as an answer told of it."""

    kind: str  # "requests", "input-tokens"
    limit: int
    remaining: int
    resets_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A limit that has less left than belongs to others."""

    kind: str
    limit: int
    remaining: int
    wait_s: float


def read(headers: Mapping[str, str], *, now: datetime) -> tuple[Left, ...]:
    """What an answer tells of its provider's limits."""
    found = [_left(headers, kind, "anthropic-ratelimit-{kind}-{what}", now) for kind in _ANTHROPIC]
    found += [_left(headers, kind, "x-ratelimit-{what}-{kind}", now) for kind in _OPENAI]
    return tuple(left for left in found if left is not None)


def _left(headers: Mapping[str, str], kind: str, form: str, now: datetime) -> Left | None:
    said = {what: headers.get(form.format(kind=kind, what=what), "").strip() for what in ("limit", "remaining")}
    resets = _seconds(headers.get(form.format(kind=kind, what="reset"), "").strip(), now)
    if resets is None or not all(re.fullmatch(r"\d{1,15}", text, re.ASCII) for text in said.values()):
        return None
    return Left(kind=kind, limit=int(said["limit"]), remaining=int(said["remaining"]), resets_in_s=resets)


def _seconds(said: str, now: datetime) -> float | None:
    """Until a reset: a moment (Anthropic), a length like `6m0s` or `20ms` (OpenAI), or plain seconds."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", said, re.ASCII):
        return min(float(said), LONGEST_S)
    parts = _PART.findall(said)
    if parts and "".join(number + unit for number, unit in parts) == said:
        return min(sum(float(number) * _UNITS[unit] for number, unit in parts), LONGEST_S)
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    return min(max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()), LONGEST_S)


@dataclass(slots=True)
class _Told:
    left: tuple[Left, ...]
    at: float
    let_out: int = 0  # requests since then


@dataclass(slots=True)
class Shares:
    """What every key's limits were, by the last answer on each model."""

    monotonic: Callable[[], float]
    _told: OrderedDict[tuple[str, str], _Told] = field(default_factory=OrderedDict)

    def heard(self, key: str, model: str, headers: Mapping[str, str], *, now: datetime) -> None:
        """An answer came; most tell of limits, and the last word counts."""
        left = read(headers, now=now)
        if not left:
            return
        self._told[key, model] = _Told(left, self.monotonic())
        self._told.move_to_end((key, model))
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def let_out(self, key: str, model: str) -> None:
        """One more request goes to the provider."""
        if (told := self._told.get((key, model))) is not None:
            told.let_out += 1

    def short(self, key: str, model: str, percent: int) -> Short | None:
        """The limit that lasts longest of those with less left than is kept for others; None: go."""
        told = self._told.get((key, model))
        if told is None or percent >= WHOLE:
            return None
        past = self.monotonic() - told.at
        found = [self._short(left, told, past, percent) for left in told.left]
        return max((each for each in found if each is not None), key=lambda each: each.wait_s, default=None)

    @staticmethod
    def _short(left: Left, told: _Told, past: float, percent: int) -> Short | None:
        wait_s = left.resets_in_s - past
        remaining = left.remaining - (told.let_out if left.kind == "requests" else 0)
        if wait_s <= 0 or remaining * WHOLE >= (WHOLE - percent) * left.limit:
            return None
        return Short(kind=left.kind, limit=left.limit, remaining=max(0, remaining), wait_s=wait_s)


def message(provider: str, short: Short, percent: int) -> str:
    """What a client is told whose wait was too long."""
    return (
        f"provider {provider} has {short.remaining:,} of {short.limit:,} {short.kind} left, and its share of "
        f"{percent}% keeps the rest for others; the limit is whole again in {short.wait_s:.0f} s. Try again then, "
        f"or raise [providers.{provider}] share"
    )
