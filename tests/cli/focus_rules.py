"""The column rules of FOCUS 1.2, as data, written from its specification (focus.finops.org), and what breaks them.

Of each column: its level, whether it may be null, its type, and the values that it allows. Conditional and recommended
columns are checked where they are present.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

STRING, DECIMAL, TIME, JSON = "string", "decimal", "time", "json"
MANDATORY = "mandatory"


@dataclass(frozen=True)
class Rule:
    """What one column must be."""

    level: str
    may_be_null: bool
    type: str
    allowed: frozenset[str] = frozenset()
    is_positive: bool = False


def _rule(
    level: str,
    null: bool,  # noqa: FBT001  (a table's columns)
    type_: str,
    *allowed: str,
    positive: bool = False,
) -> Rule:
    return Rule(level, null, type_, frozenset(allowed), positive)


CATEGORIES = (
    "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools",
    "Multicloud", "Identity", "Integration", "Internet of Things", "Management and Governance", "Media", "Migration",
    "Mobile", "Networking", "Security", "Storage", "Web", "Other",
)  # fmt: skip
RULES: Mapping[str, Rule] = {
    "AvailabilityZone": _rule("recommended", True, STRING),
    "BilledCost": _rule(MANDATORY, False, DECIMAL),
    "BillingAccountId": _rule(MANDATORY, False, STRING),
    "BillingAccountName": _rule(MANDATORY, True, STRING),
    "BillingAccountType": _rule("conditional", False, STRING),
    "BillingCurrency": _rule(MANDATORY, False, STRING, "USD"),
    "BillingPeriodEnd": _rule(MANDATORY, False, TIME),
    "BillingPeriodStart": _rule(MANDATORY, False, TIME),
    "ChargeCategory": _rule(MANDATORY, False, STRING, "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "ChargeClass": _rule(MANDATORY, True, STRING, "Correction"),
    "ChargeDescription": _rule(MANDATORY, True, STRING),
    "ChargeFrequency": _rule("recommended", False, STRING, "One-Time", "Recurring", "Usage-Based"),
    "ChargePeriodEnd": _rule(MANDATORY, False, TIME),
    "ChargePeriodStart": _rule(MANDATORY, False, TIME),
    "ConsumedQuantity": _rule("conditional", True, DECIMAL),
    "ConsumedUnit": _rule("conditional", True, STRING),
    "ContractedCost": _rule(MANDATORY, False, DECIMAL),
    "ContractedUnitPrice": _rule("conditional", True, DECIMAL, positive=True),
    "EffectiveCost": _rule(MANDATORY, False, DECIMAL),
    "InvoiceId": _rule("recommended", True, STRING),
    "InvoiceIssuerName": _rule(MANDATORY, False, STRING),
    "ListCost": _rule(MANDATORY, False, DECIMAL),
    "ListUnitPrice": _rule("conditional", True, DECIMAL, positive=True),
    "PricingCategory": _rule("conditional", True, STRING, "Standard", "Dynamic", "Committed", "Other"),
    "PricingQuantity": _rule(MANDATORY, True, DECIMAL),
    "PricingUnit": _rule(MANDATORY, True, STRING),
    "ProviderName": _rule(MANDATORY, False, STRING),
    "PublisherName": _rule(MANDATORY, False, STRING),
    "RegionId": _rule("conditional", True, STRING),
    "RegionName": _rule("conditional", True, STRING),
    "ResourceId": _rule("conditional", True, STRING),
    "ResourceName": _rule("conditional", True, STRING),
    "ResourceType": _rule("conditional", True, STRING),
    "ServiceCategory": _rule(MANDATORY, False, STRING, *CATEGORIES),
    "ServiceName": _rule(MANDATORY, False, STRING),
    "ServiceSubcategory": _rule("recommended", False, STRING, "Generative AI"),
    "SkuId": _rule("conditional", True, STRING),
    "SkuMeter": _rule("conditional", True, STRING),
    "SkuPriceDetails": _rule("conditional", True, JSON),
    "SkuPriceId": _rule("conditional", True, STRING),
    "SubAccountId": _rule("conditional", True, STRING),
    "SubAccountName": _rule("conditional", True, STRING),
    "SubAccountType": _rule("conditional", True, STRING),
    "Tags": _rule("conditional", True, JSON),
}
OF_USAGE = (
    "ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice",
    "PricingCategory", "SkuId", "SkuPriceId",
)  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


def broken(head: Sequence[str], row: Mapping[str, str]) -> Iterator[str]:
    """Every rule that a row breaks."""
    for name, rule in RULES.items():
        if rule.level == MANDATORY and name not in head:
            yield f"{name} is missing"
    for name in head:
        if name in RULES:
            yield from _cell(name, row[name], RULES[name])
        elif not name.startswith("x_"):
            yield f"{name} is no column of FOCUS and does not begin with x_"
    yield from _together(row)


def _cell(name: str, value: str, rule: Rule) -> Iterator[str]:
    if not value:
        if not rule.may_be_null:
            yield f"{name} is null"
        return
    if rule.allowed and value not in rule.allowed:
        yield f"{name} may not be {value!r}"
    if rule.type == DECIMAL and (_decimal(value) is None or (rule.is_positive and (_decimal(value) or 0) < 0)):
        yield f"{name} is {value!r}"
    if rule.type == TIME and not _TIME.match(value):
        yield f"{name} is {value!r}"
    if rule.type == JSON and not isinstance(json.loads(value), dict):
        yield f"{name} is no object"


def _together(row: Mapping[str, str]) -> Iterator[str]:
    """Rules that look at several columns."""
    yield from _of_usage(row)
    for id_, name in (("RegionId", "RegionName"), ("SubAccountId", "SubAccountName"), ("ResourceId", "ResourceName")):
        if bool(row[id_]) != bool(row[name]):
            yield f"{id_} and {name} are null together or not at all"
    if not row["SkuId"] and row["SkuMeter"]:
        yield "SkuMeter stands without SkuId"
    for start, end in (("ChargePeriodStart", "ChargePeriodEnd"), ("BillingPeriodStart", "BillingPeriodEnd")):
        if row[start] >= row[end]:
            yield f"{start} is not before {end}"
    if row["ChargePeriodStart"] < row["BillingPeriodStart"] or row["ChargePeriodEnd"] > row["BillingPeriodEnd"]:
        yield "the charge's period is not in the bill's"


def _of_usage(row: Mapping[str, str]) -> Iterator[str]:
    """What must be there where something was used, and may not be where nothing was."""
    if row["ChargeCategory"] != "Usage":
        if row["ConsumedQuantity"]:
            yield "ConsumedQuantity stands in a row that is no usage"
        return
    yield from (f"{name} is null in a row of usage" for name in OF_USAGE if not row[name])
    for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
        if Decimal(row[price]) * Decimal(row["PricingQuantity"]) != Decimal(row[cost]):
            yield f"{cost} is not {price} times PricingQuantity"


def _decimal(value: str) -> Decimal | None:
    try:
        return Decimal(value)
    except InvalidOperation:
        return None
