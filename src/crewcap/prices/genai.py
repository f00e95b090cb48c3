"""The installed genai-prices data, read as exact decimals. The only file that knows that library.

Its data module is read as it was shipped; its updater, which fetches over the network, is never started, and its
calculator is never called (the tests do, to compare). What this file guards against:

- a modifier that the library does not know for a model is silently priced as standard there; here it is unknown
- so is batch before the day from which its batch prices count, and fast together with batch
- a fee for each request, or output of another kind than text at another price, cannot be held by counting tokens;
  such a model is unknown here, with the reason
- tokens of pictures, sound and film that have an input price of their own become pieces ("input_audio_token")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any

from genai_prices.data import providers as _shipped
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from crewcap.prices.listing import Listing, Silence
from crewcap.prices.sheet import Price, Sheet

VERSION = f"genai-prices {version('genai-prices')}"

_OWN_KINDS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "write_5m",
    "cache_write_5m_mtok": "write_5m",
    "cache_write_1h_mtok": "write_1h",
    "output_mtok": "output",
}
_SINGULAR = {"searches": "search", "executions": "execution", "tokens": "token"}
_UNITS = {unit["price_key"]: (key, unit) for key, unit in unit_data.items()}
_COUNTED_AS_OUTPUT = ("output_reasoning_tokens", "output_citation_tokens", "output_text_tokens")
_OTHER_INPUT = tuple(f"{head}_{what}_" for head in ("input", "cache") for what in ("audio", "image", "video"))
_CONDITION_KEYS = ("speed", "processing", "service_tier")  # where the library tells one condition from another


def provider_ids() -> tuple[str, ...]:
    """Every provider that the library has a price for."""
    return tuple(provider.id for provider in _shipped)


def listings(provider: str) -> tuple[Listing, ...]:
    """Every model of a provider; none where the library has no such provider."""
    found = next((each for each in _shipped if each.id == provider), None)
    return tuple(_listing(found, info) for info in found.models) if found else ()


def sheet_at(listing: Listing, *, speed: str, tier: str, at: datetime) -> Sheet | Silence:
    """What the library says of a model, or that it says nothing, or nothing that can be held."""
    info = _records().get((listing.provider, listing.id))
    name = f"{listing.provider}/{listing.id}"
    conditions = [word for word in (speed, tier) if word != "standard"]
    if info is None or len(conditions) > 1:
        return Silence(name, f"a price at {' and '.join(conditions) or 'standard'}")
    context = _context(info, conditions[0], at) if conditions else {}
    if context is None:
        return Silence(name, f"a price at {conditions[0]}", is_dated=True)
    return _sheet(name, info.get_prices(at, context))


@cache
def _records() -> Mapping[tuple[str, str], ModelInfo]:
    """The library's own record of each model."""
    return {(provider.id, info.id): info for provider in _shipped for info in provider.models}


def _listing(provider: Provider, info: ModelInfo) -> Listing:
    dated = info.prices if isinstance(info.prices, list) else []
    constraints = [each.constraint for each in (*dated, *(info.price_variants or ()))]
    starts = {each.start_date for each in constraints if isinstance(each, StartDateConstraint)}
    clocks = [each for each in constraints if isinstance(each, TimeOfDateConstraint)]
    return Listing(
        provider=provider.id,
        id=info.id,
        spellings=(info.id, *_spellings(info.match)),
        context_window=info.context_window,
        changes=tuple(datetime.combine(start, time(), UTC) for start in sorted(starts)),
        daily=tuple(sorted({_utc(turn) for each in clocks for turn in (each.start_time, each.end_time)})),
    )


def _spellings(clause: Any) -> Iterator[str]:
    """The literal names in a matching rule; patterns are not names."""
    match clause:
        case ClauseOr(or_=parts) | ClauseAnd(and_=parts):
            for part in parts:
                yield from _spellings(part)
        case ClauseEquals(equals=text) | ClauseStartsWith(starts_with=text):
            yield text
        case ClauseContains(contains=text) | ClauseEndsWith(ends_with=text):
            yield text


def _utc(turn: time) -> time:
    """A time of day in UTC; the library's are UTC where they name no zone."""
    aware = turn if turn.tzinfo else turn.replace(tzinfo=UTC)
    return datetime.combine(datetime(1970, 1, 2, tzinfo=UTC).date(), aware).astimezone(UTC).time()


def _context(info: ModelInfo, word: str, at: datetime) -> Mapping[str, str] | None:
    """The library's own key for a condition, if it has prices for it at this time."""
    for variant in info.price_variants or ():
        is_active = variant.constraint is None or variant.constraint.active(at)
        if is_active and any(variant.when == {key: word} for key in _CONDITION_KEYS):
            return variant.when
    return None


def _sheet(name: str, prices: ModelPrice) -> Sheet | Silence:
    said = {key: value for key, value in vars(prices).items() if value is not None}
    kinds = {kind: _price(said[key]) for key, kind in _OWN_KINDS.items() if key in said}
    rest = {key: value for key, value in said.items() if key not in _OWN_KINDS}
    if "input" not in kinds or "output" not in kinds:
        return Silence(name, "a price per token of input and output")
    pieces: dict[str, Decimal] = {}
    for key, value in rest.items():
        usage_key, unit = _UNITS[key]
        if usage_key in _COUNTED_AS_OUTPUT:
            kinds["output"] = _dearer(kinds["output"], _price(value))
        elif unit["dimensions"]["family"] == "tool_calls" or usage_key.startswith(_OTHER_INPUT):
            pieces[_singular(usage_key)] = _dearest(_price(value)) / unit["per"]
        else:
            return Silence(name, f"a way to hold {usage_key.replace('_', ' ')}, which is billed apart,")
    return Sheet(kinds=kinds, pieces=pieces, source=VERSION)


def _price(value: Decimal | TieredPrices) -> Price:
    if isinstance(value, TieredPrices):
        return Price(base=value.base, above=tuple((tier.start, tier.price) for tier in value.tiers))
    return Price(base=value)


def _dearest(price: Price) -> Decimal:
    return max(price.base, *(usd for _, usd in price.above), price.base)


def _dearer(one: Price, other: Price) -> Price:
    """The dearer of two prices at every prompt size."""
    starts = sorted({start for start, _ in (*one.above, *other.above)})
    above = tuple((start, max(one.at(start), other.at(start))) for start in starts)
    return Price(base=max(one.base, other.base), above=above)


def _singular(usage_key: str) -> str:
    """`web_searches` -> `web_search`: pieces are named for one of them."""
    head, _, tail = usage_key.rpartition("_")
    return f"{head}_{_SINGULAR.get(tail, tail)}"
