"""A price sheet as people publish it, and the integer rate card that it becomes.

A `Sheet` holds exact decimals of dollars: per million tokens for each kind, and per piece. `compile_card` turns it
into whole pico-dollars once, with every factor multiplied in. Where the product is not a whole number the rate is
rounded *up* and the card is flagged, so that what is booked can be more than the bill, never less.

A kind without a price of its own costs what its tokens cost otherwise: a cache read or write is input. One case is
different: where 5-minute writes have a price and 1-hour writes have none, nobody said what the longer one costs
(it is dearer wherever it is sold), so the card is marked and refuses them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Context, Decimal, Inexact

from crewcap.core.pricing import RateCard, Rates, Tier

PICO_PER_USD = 1_000_000_000_000
PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK = 1_000_000
KINDS = ("input", "cache_read", "write_5m", "write_1h", "output")
DEFAULT_IMAGE_TOKENS = 4_800

_EXACT = Context(prec=80, traps=[Inexact])
_FALLS_TO = {"cache_read": "input", "write_5m": "input", "write_1h": "write_5m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars for one kind of token, or other dollars once the whole prompt is larger than a threshold."""

    base: Decimal
    above: tuple[tuple[int, Decimal], ...] = ()  # (prompt tokens, price), rising

    def at(self, threshold: int) -> Decimal:
        """The price of a prompt just above this many tokens."""
        return next((price for start, price in reversed(self.above) if threshold >= start), self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What one source says that one model costs, under one set of conditions, at one time."""

    kinds: Mapping[str, Price]  # by name of KINDS, dollars per million tokens; input and output are always there
    pieces: Mapping[str, Decimal] = field(default_factory=dict)  # dollars each
    source: str = ""

    def price(self, kind: str) -> Price:
        """The price of a kind, or of what its tokens count as where it has none."""
        while kind not in self.kinds:
            kind = _FALLS_TO[kind]
        return self.kinds[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """A model's own figures; None where nobody published them."""

    context_window: int | None = None
    max_output: int | None = None
    image_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A rate card, and whether a rate had to be rounded up to a whole pico-dollar."""

    card: RateCard
    is_rounded: bool
    source: str


def compile_card(sheet: Sheet, *, provider: str, model: str, sizes: Sizes, factor: Decimal) -> Compiled:
    """Turn a sheet into whole pico-dollars. `factor` multiplies tokens, never pieces."""
    thresholds = sorted({start for price in sheet.kinds.values() for start, _ in price.above})
    tables = [_rates(sheet, threshold, factor) for threshold in (None, *thresholds)]
    pieces = {name: _whole(usd, PICO_PER_USD) for name, usd in sorted(sheet.pieces.items())}
    card = RateCard(
        provider=provider,
        model=model,
        rates=tables[0][0],
        tiers=tuple(Tier(above=start, rates=rates) for start, (rates, _) in zip(thresholds, tables[1:], strict=True)),
        per_piece={name: pico for name, (pico, _) in pieces.items()},
        context_window=sizes.context_window,
        max_output=sizes.max_output,
        image_tokens=sizes.image_tokens or DEFAULT_IMAGE_TOKENS,
        unpriced=frozenset({"write_1h"} if "write_5m" in sheet.kinds and "write_1h" not in sheet.kinds else ()),
    )
    is_rounded = any(rounded for _, rounded in (*tables, *pieces.values()))
    return Compiled(card=replace(card, id=_id_of(card)), is_rounded=is_rounded, source=sheet.source)


def _rates(sheet: Sheet, threshold: int | None, factor: Decimal) -> tuple[Rates, bool]:
    """The rates above a threshold (None: below all), and whether one was rounded."""
    found = {}
    for kind in KINDS:
        price = sheet.price(kind)
        usd = price.base if threshold is None else price.at(threshold)
        found[kind] = _whole(_EXACT.multiply(usd, factor), PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK)
    return Rates(**{kind: pico for kind, (pico, _) in found.items()}), any(rounded for _, rounded in found.values())


def _whole(usd: Decimal, unit: int) -> tuple[int, bool]:
    """Dollars as whole pico-dollars, rounded up where they are not a whole number of them."""
    exact = _EXACT.multiply(usd, unit)
    pico = int(exact.to_integral_value(rounding=ROUND_CEILING))
    return pico, pico != exact


def _id_of(card: RateCard) -> str:
    """Short hash of everything that the card says."""
    tiers = [(tier.above, _numbers(tier.rates)) for tier in card.tiers]
    sizes = (card.context_window, card.max_output, card.image_tokens)
    said = (card.provider, card.model, _numbers(card.rates), tiers, dict(card.per_piece), sizes, sorted(card.unpriced))
    return hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest()


def _numbers(rates: Rates) -> tuple[int, ...]:
    return (rates.input, rates.cache_read, rates.write_5m, rates.write_1h, rates.output)
