"""FOCUS 1.2 rows: spend in the columns that tools for cloud bills read (focus.finops.org).

One row a day, model, price, token kind, workflow, phase, team and repository, in columns of the specification and a few
of our own, which begin with `x_`. Three rules make a file add up:

    a token row   quantity times unit price, both exact: prices have twelve decimals, a pico-dollar
    rounding      each request is rounded up to a nano-dollar; together that is a row of its own, an Adjustment
    adjustments   money that no price explains: uncertain holds, what was closed by word, a price list that is gone

So `BilledCost` over all rows is what the ledger says, to the last unit. What a subscription paid is billed at nothing
and stands under `ListCost` and `ContractedCost`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crewcap.core.bundles import Bundle, costs, rates_of
from crewcap.core.money import PICO_PER_NANO
from crewcap.core.pricing import Modifiers, RateCard

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName",
    "ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName",
    "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags",
    "x_Requests", "x_State", "x_TokenKind",
)  # fmt: skip
KINDS = ("input", "cache_read", "write_5m", "write_1h", "output")
METERS: Mapping[str, str] = {
    "input": "Input Tokens",
    "cache_read": "Cache Read Tokens",
    "write_5m": "Cache Write Tokens, 5 Minutes",
    "write_1h": "Cache Write Tokens, 1 Hour",
    "output": "Output Tokens",
}
REGIONS: Mapping[str, str] = {"global": "Global", "us": "United States"}
_UNEXPLAINED = {
    "": ("not told apart by kind", "measured"),
    "reconciled": ("closed by word", "by word"),
    "corrected": ("a price that was corrected later", "measured"),
}
_CHANGING = frozenset({"batch", "flex"})  # tiers whose price the provider sets as it likes


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """The card that requests were settled at, the same without negotiated discounts, and what led to it."""

    card: RateCard
    listed: RateCard
    modifiers: Modifiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row belongs: everything that rows are told apart by beside their prices."""

    starts_at: datetime
    ends_at: datetime
    month_starts_at: datetime
    month_ends_at: datetime
    team: str = ""
    run: str = ""
    run_name: str = ""
    tags: tuple[tuple[str, str], ...] = ()


PlaceOf = Callable[[Bundle], Place]
PricedOf = Callable[[Bundle], Priced | None]


def rows(bundles: Iterable[Bundle], *, place_of: PlaceOf, priced_of: PricedOf) -> Iterator[tuple[str, ...]]:
    """Every row, its cells in the order of `COLUMNS`; by time, then by what it is about."""
    groups: dict[tuple[object, ...], tuple[Place, list[Bundle]]] = {}
    for bundle in bundles:
        place = place_of(bundle)
        about = (bundle.provider, bundle.model, bundle.card, bundle.size, _later(bundle), bundle.by_plan)
        groups.setdefault((place, *about), (place, []))[1].append(bundle)
    ordered = sorted(groups.values(), key=lambda each: _order(*each))
    for place, members in ordered:
        yield from _of_group(place, members, priced_of(members[0]))


def _order(place: Place, members: Sequence[Bundle]) -> tuple[object, ...]:
    first = members[0]
    return (place.starts_at, first.provider, first.model, place.tags, place.team, place.run, first.card, *first[5:8])


def _of_group(place: Place, members: Sequence[Bundle], priced: Priced | None) -> Iterator[tuple[str, ...]]:
    """The rows of requests that are alike: one for each kind of token, and what prices do not explain."""
    first = members[0]
    uncertain = sum(bundle.uncertain for bundle in members) * PICO_PER_NANO
    money = sum(bundle.notional if first.by_plan else bundle.spent for bundle in members) * PICO_PER_NANO
    requests = sum(bundle.requests for bundle in members)
    later = _later(first)
    told = [bundle for bundle in members if _is_told(bundle, priced)]
    rest = money
    for kind, quantity, price, list_price in _charges(told, priced):
        rest -= quantity * price
        cells = _usage(kind, quantity, price, list_price, by_plan=first.by_plan)
        yield _row(place, first, priced, {**cells, "x_Requests": str(requests)})
    settled = sum(bundle.notional if first.by_plan else bundle.spent for bundle in told) * PICO_PER_NANO
    rounding = rest - (money - settled)
    for name, state, pico in (
        ("rounding up to a nano-dollar a request", "measured", rounding),
        (*_UNEXPLAINED[later], rest - rounding),
        ("uncertain: sent, and no answer told its cost", "uncertain", uncertain),
    ):
        if pico:
            is_free = first.by_plan and state == "measured"
            cells = _adjustment(name, pico, state=state, by_plan=is_free)
            correction = {"ChargeClass": "Correction"} if later == "corrected" else {}
            yield _row(place, first, None, {**cells, **correction})


def _later(bundle: Bundle) -> str:
    """What was said after a request was closed: by somebody's word, or because its price had been wrong."""
    return bundle.kind if bundle.kind in _UNEXPLAINED else ""


def _is_told(bundle: Bundle, priced: Priced | None) -> bool:
    """Whether its tokens at its prices are what the ledger has, but for the rounding."""
    split = costs(bundle, priced.card) if priced is not None else None
    return split is not None and split.is_exact and bool(split.whole)


def _charges(told: Sequence[Bundle], priced: Priced | None) -> Iterator[tuple[str, int, int, int]]:
    """Kind, quantity, price and list price of everything that was sold; prices in pico-dollars."""
    if priced is None or not told:
        return
    rates, listed = rates_of(priced.card, told[0].size), rates_of(priced.listed, told[0].size)
    for kind in KINDS:
        quantity = sum(getattr(bundle, kind) for bundle in told)
        if quantity and rates is not None and listed is not None:
            yield kind, quantity, getattr(rates, kind), getattr(listed, kind)
    pieces: dict[str, int] = {}
    for bundle in told:
        for name, count in json.loads(bundle.pieces).items():
            pieces[name] = pieces.get(name, 0) + count * bundle.requests
    for name, quantity in pieces.items():
        price = priced.card.per_piece.get(name, 0)
        yield name, quantity, price, priced.listed.per_piece.get(name, price)


def _usage(kind: str, quantity: int, price: int, list_price: int, *, by_plan: bool) -> dict[str, str]:
    """What was used, at its price."""
    unit = "Tokens" if kind in KINDS else "Requests"
    billed = dollars(0 if by_plan else quantity * price)
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ContractedCost": dollars(quantity * price),
        "ContractedUnitPrice": dollars(price),
        "ListCost": dollars(quantity * list_price),
        "ListUnitPrice": dollars(list_price),
        "ChargeCategory": "Usage",
        "ChargeDescription": METERS.get(kind, kind.replace("_", " ").capitalize()),
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": str(quantity),
        "ConsumedUnit": unit,
        "PricingQuantity": str(quantity),
        "PricingUnit": unit,
        "SkuMeter": METERS.get(kind, kind.replace("_", " ").capitalize()),
        "x_State": "notional" if by_plan else "measured",
        "x_TokenKind": kind,
    }


def _adjustment(name: str, pico: int, *, state: str, by_plan: bool) -> dict[str, str]:
    """Money without a quantity."""
    billed, whole = dollars(0 if by_plan else pico), dollars(pico)
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ContractedCost": whole,
        "ListCost": whole,
        "ChargeCategory": "Adjustment",
        "ChargeDescription": name[:1].upper() + name[1:],
        "ChargeFrequency": "Usage-Based",
        "x_State": "notional" if by_plan else state,
    }


def _row(place: Place, bundle: Bundle, priced: Priced | None, cells: Mapping[str, str]) -> tuple[str, ...]:
    """All cells; an empty one is null."""
    tags = {name: value for name, value in place.tags if value}
    whole = {
        "BillingAccountId": bundle.provider,
        "BillingAccountName": bundle.provider,
        "BillingCurrency": "USD",
        "BillingPeriodStart": instant(place.month_starts_at),
        "BillingPeriodEnd": instant(place.month_ends_at),
        "ChargePeriodStart": instant(place.starts_at),
        "ChargePeriodEnd": instant(place.ends_at),
        "InvoiceIssuerName": bundle.provider,
        "ProviderName": bundle.provider,
        "PublisherName": bundle.provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": bundle.model,
        **_of_run(place),
        **({"SubAccountId": place.team, "SubAccountName": place.team, "SubAccountType": "team"} if place.team else {}),
        "Tags": json.dumps(tags, ensure_ascii=False, separators=(",", ":")),
        **(_sku(bundle, priced, cells["x_TokenKind"]) if priced is not None else {}),
        **cells,
    }
    return tuple(whole.get(column, "") for column in COLUMNS)


def _of_run(place: Place) -> dict[str, str]:
    if not place.run:
        return {}
    return {"ResourceId": place.run, "ResourceName": place.run_name, "ResourceType": "run"}


def _sku(bundle: Bundle, priced: Priced, kind: str) -> dict[str, str]:
    """What is sold, and the price that it was sold at: a card, a size of prompts, a kind of token."""
    geo = priced.modifiers.geo
    return {
        "SkuId": bundle.model,
        "SkuPriceId": f"{priced.card.id}:{bundle.size}:{kind}",
        "PricingCategory": "Dynamic" if priced.modifiers.tier in _CHANGING else "Standard",
        "RegionId": geo,
        "RegionName": REGIONS.get(geo, geo),
    }


def dollars(pico: int) -> str:
    """Twelve decimals, of which one is a pico-dollar."""
    sign, pico = ("-", -pico) if pico < 0 else ("", pico)
    return f"{sign}{pico // 10**12}.{pico % 10**12:012d}"


def instant(at: datetime) -> str:
    """As FOCUS writes times: `2026-11-22T00:00:00Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
