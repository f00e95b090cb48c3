"""What the same requests would have cost otherwise: on another model, in batches, without fast mode.

Every answer here supposes the same tokens. Another model counts, thinks and takes turns differently, so the figure is
a bound to try out on a few runs, never a promise, and each scenario carries what it supposes. A request that has no
price in a scenario is left out of both sides and counted (`left_out`): it is never taken for free.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, RateCard, Rates, UnknownPrice
from crewcap.core.report import Spending

SAME_TOKENS = "the same tokens and turns"

_TELLING = re.compile(r'"(?:fast|us|batch|priority|flex)"|\\')
_STANDARD = Modifiers()

CardOf = Callable[[Spending], RateCard | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One other way, and what it would have come to."""

    name: str
    cost: Money
    instead_of: Money  # what the same requests did cost
    requests: int
    left_out: int = 0  # requests that have no price there
    supposes: str = SAME_TOKENS

    @property
    def difference(self) -> Money:
        """Above zero where it would have been dearer."""
        return self.cost - self.instead_of


def reprice(name: str, entries: Iterable[Spending], card_of: CardOf, *, supposes: str = SAME_TOKENS) -> Scenario:
    """The same usage on other cards. What was never answered has no usage, and stays what it is."""
    cost, before, requests, left_out = 0, 0, 0, 0
    for entry in entries:
        booked = entry.spent.nano + entry.uncertain.nano
        other = _on(entry, card_of)
        if other is None:
            left_out += 1
            continue
        requests += 1
        before += booked
        cost += other + entry.uncertain.nano
    return Scenario(
        name=name,
        cost=Money(cost),
        instead_of=Money(before),
        requests=requests,
        left_out=left_out,
        supposes=supposes,
    )


def without_caching(entries: Iterable[Spending], card_of: CardOf) -> Scenario:
    """Every prompt token at the plain input rate."""
    known: dict[str, RateCard] = {}

    def uncached(entry: Spending) -> RateCard | None:
        card = card_of(entry)
        if card is None:
            return None
        name = card.id or repr(card)
        return known.get(name) or known.setdefault(name, _uncached(card))

    return reprice("no caching", entries, uncached)


def modifiers_of(raw_usage: str) -> Modifiers:
    """What the provider said that changes a request's price beside its tokens; standard where it said nothing."""
    if not _TELLING.search(raw_usage):  # the usual; a backslash may hide a letter of a word
        return _STANDARD
    said = _object(raw_usage)
    return Modifiers(
        speed="fast" if said.get("speed") == "fast" else "standard",
        geo="us" if said.get("inference_geo") == "us" else "global",
        tier=str(said["service_tier"]) if said.get("service_tier") in {"batch", "priority", "flex"} else "standard",
    )


def breaks_even(cost: Money, fee: Money) -> Fraction | None:
    """The share of this use from which on a flat fee is cheaper; None where all of it costs less than the fee."""
    return Fraction(fee.nano, cost.nano) if cost.nano >= fee.nano > 0 else None


def _on(entry: Spending, card_of: CardOf) -> int | None:
    """Nano-dollars on the other card; None without a price."""
    if not entry.usage.prompt and not entry.usage.output:
        return entry.spent.nano
    try:
        card = card_of(entry)
        return card.cost(entry.usage).nano if card is not None else None
    except UnknownPrice:
        return None


def _uncached(card: RateCard) -> RateCard:
    """The same card, on which caches cost what plain input costs."""
    tiers = tuple(replace(tier, rates=_plain(tier.rates)) for tier in card.tiers)
    return replace(card, rates=_plain(card.rates), tiers=tiers)


def _plain(rates: Rates) -> Rates:
    return replace(rates, cache_read=rates.input, write_5m=rates.input, write_1h=rates.input)


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
