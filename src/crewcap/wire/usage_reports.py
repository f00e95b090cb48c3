"""Providers' own reports of what was used, as their admin interfaces write them.

    Anthropic   GET /v1/organizations/usage_report/messages   bucket_width=1m, group_by[]=model
    OpenAI      GET /v1/organization/usage/completions        bucket_width=1m, group_by=model

Both are pages of buckets of time with a result for each group. A model has to be told, else nothing can be priced;
service tier, region, speed and context window are used where the report was grouped by them. A cost report is no
usage report: it knows days only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from crewcap.core.pricing import Modifiers, Usage
from crewcap.wire import Malformed

_TIERS = {"default": "standard", "auto": "standard", "on_demand": "standard"}
_ASK = "ask for it with bucket_width=1m and grouped by model"
_SMALL_WINDOW = {"0-200k": 200_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One result of one bucket."""

    starts_at: datetime
    ends_at: datetime
    model: str  # as the provider names it
    usage: Usage
    modifiers: tuple[Modifiers, ...]
    most_prompt: int | None
    api_key: str  # the provider's id of the key; '' where it was not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One file."""

    dialect: str  # "anthropic", "openai"
    spans: tuple[tuple[datetime, datetime], ...]
    lines: tuple[Line, ...]
    has_more: bool


class _Creation(msgspec.Struct, frozen=True):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Anthropic(msgspec.Struct, kw_only=True):
    """A result of Anthropic's."""

    uncached_input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation: _Creation = _Creation()
    server_tool_use: dict[str, int] | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    api_key_id: str | None = None

    def line(self, start: datetime, end: datetime) -> Line:
        pieces = {name.removesuffix("_requests"): count for name, count in (self.server_tool_use or {}).items()}
        geos = ("global", "us") if self.inference_geo is None else ("us" if self.inference_geo == "us" else "global",)
        tier = self.service_tier or "standard"
        return Line(
            starts_at=start,
            ends_at=end,
            model=_named(self.model),
            usage=_checked(
                Usage(
                    input=self.uncached_input_tokens,
                    cache_read=self.cache_read_input_tokens,
                    write_5m=self.cache_creation.ephemeral_5m_input_tokens,
                    write_1h=self.cache_creation.ephemeral_1h_input_tokens,
                    output=self.output_tokens,
                    pieces={name: count for name, count in pieces.items() if count},
                )
            ),
            modifiers=tuple(
                Modifiers(speed=self.speed or "standard", geo=geo, tier=_TIERS.get(tier, tier)) for geo in geos
            ),
            most_prompt=_SMALL_WINDOW.get(self.context_window or ""),
            api_key=self.api_key_id or "",
        )


class _OpenAI(msgspec.Struct, kw_only=True):
    """A result of OpenAI's; cached and written tokens are inside `input_tokens`."""

    input_tokens: int
    output_tokens: int
    input_cached_tokens: int | None = None
    input_cache_write_tokens: int | None = None  # for 30 minutes
    input_cache_write_12h_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_image_tokens: int | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_key_id: str | None = None

    def line(self, start: datetime, end: datetime) -> Line:
        if self.input_audio_tokens or self.output_audio_tokens or self.output_image_tokens:
            raise Malformed(f"the report has audio or image tokens of {self.model}; only text can be reconciled")
        cached, short = self.input_cached_tokens or 0, self.input_cache_write_tokens or 0
        long = self.input_cache_write_12h_tokens or 0
        tier = "batch" if self.batch else (self.service_tier or "standard")
        return Line(
            starts_at=start,
            ends_at=end,
            model=_named(self.model),
            usage=_checked(
                Usage(
                    input=self.input_tokens - cached - short - long,
                    cache_read=cached,
                    write_5m=short,
                    write_1h=long,
                    output=self.output_tokens,
                )
            ),
            modifiers=(Modifiers(tier=_TIERS.get(tier, tier)),),
            most_prompt=None,
            api_key=self.api_key_id or "",
        )


def read(data: bytes) -> Page:
    """A file as it was answered; `Malformed` says what it is instead."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"it is not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("data"), list):
        raise Malformed(f"it has no `data`: it is no usage report; {_ASK}")
    buckets = [bucket for bucket in said["data"] if isinstance(bucket, dict)]
    if not buckets or len(buckets) != len(said["data"]):
        raise Malformed(f"it has no buckets of time; {_ASK}")
    dialect = "openai" if "start_time" in buckets[0] else "anthropic"
    found = [_bucket(bucket, dialect) for bucket in buckets]
    return Page(
        dialect=dialect,
        spans=tuple(span for span, _ in found),
        lines=tuple(line for _, lines in found for line in lines),
        has_more=bool(said.get("has_more")),
    )


def _bucket(bucket: dict[str, Any], dialect: str) -> tuple[tuple[datetime, datetime], list[Line]]:
    results = bucket.get("results")
    if not isinstance(results, list):
        raise Malformed(f"a bucket has no `results`; {_ASK}")
    if any(isinstance(result, dict) and "amount" in result for result in results):
        raise Malformed(f"it is a cost report, which knows no tokens; the usage report is needed: {_ASK}")
    kind: type[_Anthropic | _OpenAI] = _OpenAI if dialect == "openai" else _Anthropic
    try:
        start, end = _span(bucket, dialect)
        return (start, end), [msgspec.convert(result, kind).line(start, end) for result in results]
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"a bucket cannot be read: {error}") from error


def _span(bucket: dict[str, Any], dialect: str) -> tuple[datetime, datetime]:
    if dialect == "openai":
        start, end = (datetime.fromtimestamp(bucket[name], UTC) for name in ("start_time", "end_time"))
    else:
        start, end = (datetime.fromisoformat(bucket[name]) for name in ("starting_at", "ending_at"))
    if start.tzinfo is None or end.tzinfo is None or start >= end:
        raise Malformed("a bucket's times are not two moments, one after the other")
    return start.astimezone(UTC), end.astimezone(UTC)


def _named(model: str | None) -> str:
    if not model:
        raise Malformed(f"it does not tell the model; {_ASK}")
    return model


def _checked(usage: Usage) -> Usage:
    told = (usage.input, usage.cache_read, usage.write_5m, usage.write_1h, usage.output, *usage.pieces.values())
    if min(told) < 0:
        raise Malformed("it tells of fewer than no tokens")
    return usage
