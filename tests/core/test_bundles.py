"""Bundles: what a million requests come to, to the last unit, and where their money went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap import prices
from crewcap.core.budget import KeyId
from crewcap.core.bundles import (
    KINDS,
    OWN,
    SIZES,
    Bundle,
    Line,
    add_up,
    at,
    costs,
    line,
    lines,
    merged,
    quarter_of,
    rates_of,
    sorted_lines,
    top,
)
from crewcap.core.money import PICO_PER_NANO, Money
from crewcap.core.pricing import RateCard, Rates, Tier, Usage

RATES = Rates(input=2_000_000, cache_read=200_000, write_5m=2_500_000, write_1h=4_000_000, output=10_000_000)
DEAR = Rates(input=4_000_000, cache_read=400_000, write_5m=5_000_000, write_1h=8_000_000, output=15_000_000)
CARD = RateCard(
    provider="anthropic", model="m", rates=RATES, tiers=(Tier(above=200_000, rates=DEAR),), per_piece={"web": 10**10}
)
NOON = quarter_of(datetime(2026, 11, 22, 12, tzinfo=UTC))


def bundle(**fields: Any) -> Bundle:
    usual: dict[str, Any] = dict.fromkeys(Bundle._fields, 0)
    words = {"key": KeyId("k"), "provider": "anthropic", "model": "m", "card": "c", "kind": "settled", "pieces": "{}"}
    return Bundle(**{**usual, **words, "quarter": NOON, "by_plan": False, "subagent": False, "requests": 1, **fields})


def of(usage: Usage, **fields: Any) -> Bundle:
    """A request as it is booked."""
    size = sum(usage.prompt > each for each in SIZES)
    counts = {
        kind: getattr(usage, kind) for kind in ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
    }
    return bundle(size=size, spent=CARD.cost(usage).nano, **counts, **fields)


TOKENS = st.integers(0, 150_000)
USAGES = st.builds(Usage, input=TOKENS, cache_read=TOKENS, write_5m=TOKENS, write_1h=TOKENS, output=TOKENS)


@settings(max_examples=60)
@given(st.lists(USAGES, min_size=1, max_size=6))
def test_kinds_and_rounding_are_all_of_the_ledgers_number(usages: list[Usage]) -> None:
    """However long the prompts were: what is above a tier's limit is priced as it was billed."""
    found = line([of(usage) for usage in usages], card_of=lambda _: CARD)
    assert found.costs.is_exact
    assert found.costs.whole == found.spent.nano * PICO_PER_NANO
    assert 0 <= found.costs.rounding < len(usages) * PICO_PER_NANO


def test_money_that_tokens_do_not_come_to_is_shared_out_and_called_estimated() -> None:
    """Audio, several models in one answer: then the kinds are shares of the number, and still all of it."""
    found = costs(bundle(spent=1_000, input=300, output=100), CARD)
    assert not found.is_exact
    assert found.whole == 1_000 * PICO_PER_NANO
    assert (found.input, found.output) == (375_000, 625_000)


def test_without_a_card_nothing_is_told_apart() -> None:
    found = costs(bundle(spent=7, input=5), None)
    assert (found.other, found.whole, found.is_exact) == (7_000, 7_000, False)
    assert found.saved == Money(0)


def test_fees_are_each_requests_own() -> None:
    found = costs(bundle(requests=3, spent=60_000_000, pieces='{"web": 2}'), CARD)
    assert (found.fees, found.rounding, found.is_exact) == (6 * 10**10, 0, True)


def test_what_a_plan_paid_stands_apart() -> None:
    found = line([bundle(by_plan=True, notional=10, output=1), bundle(spent=10, output=1)], card_of=lambda _: CARD)
    assert (found.cost, found.notional) == (Money(10), Money(10))
    assert found.costs.whole == found.plan_costs.whole == 10_000


def test_caching_is_weighed_against_the_same_tokens_without() -> None:
    """41k written, 412k read at Sonnet 5's rates: 0.1025 + 0.0824 against 0.906."""
    usage = Usage(write_5m=41_000, cache_read=100_000)
    found = line([of(usage)], card_of=lambda _: CARD)
    assert found.saved == Money.usd("0.1595")  # 0.282 without, 0.1225 with


@pytest.mark.parametrize(("size", "rates"), [(0, RATES), (4, RATES), (5, DEAR), (9, DEAR)])
def test_a_tier_counts_above_its_limit(size: int, rates: Rates) -> None:
    assert rates_of(CARD, size) == rates


def test_a_limit_that_sizes_do_not_tell_apart_tells_nothing() -> None:
    odd = RateCard(provider="p", model="m", rates=RATES, tiers=(Tier(above=50_000, rates=DEAR),))
    assert rates_of(odd, 0) == RATES
    assert rates_of(odd, 1) is None
    assert rates_of(odd, 2) == DEAR


@pytest.mark.parametrize(("size", "rates"), [(OWN, RATES), (OWN + 1, DEAR), (OWN + 2, None)])
def test_a_card_with_limits_of_its_own_is_told_apart_by_these(size: int, rates: Rates | None) -> None:
    """Of a card that stands in for one that is gone, there may be too few."""
    odd = RateCard(provider="p", model="m", rates=RATES, tiers=(Tier(above=50_000, rates=DEAR),))
    assert rates_of(odd, size) == rates


def test_every_limit_of_every_price_list_is_told_apart() -> None:
    """A list that brings a new one must bring it here and into the stores' view, or each of its cards has its own."""
    book = prices.load()
    known = {tier.above for compiled in book._cards.values() for tier in compiled.card.tiers}
    assert known <= set(SIZES)
    assert list(SIZES) == sorted(set(SIZES))


def test_alike_bundles_are_one_and_others_are_not() -> None:
    one, later, other = bundle(spent=1), bundle(spent=2, quarter=NOON + 9, key=KeyId("z")), bundle(spent=4, card="d")
    assert merged([one, later, other]) == [bundle(spent=3, requests=2), other]
    assert merged([one, other]) == [one, other]


def test_lines_are_grouped_sorted_and_cut_without_losing_a_unit() -> None:
    made = [
        bundle(model=name, spent=spent, quarter=NOON + day * 96)
        for day, (name, spent) in enumerate([("a", 5), ("b", 9), ("a", 7), ("c", 1)])
    ]
    by = [lambda each: f"{at(each.quarter):%d}", lambda each: each.model]
    found = lines(made, by, card_of=lambda _: None)
    assert [each.keys for each in sorted_lines(found, in_time=[True, False])] == [
        ("22", "a"),
        ("23", "b"),
        ("24", "a"),
        ("25", "c"),
    ]
    ordered = sorted_lines(lines(made, by[1:], card_of=lambda _: None), in_time=[False])
    assert [(each.keys, each.cost.nano) for each in ordered] == [(("a",), 12), (("b",), 9), (("c",), 1)]
    assert [(each.keys[0], each.cost.nano) for each in top(ordered, 1)] == [("a", 12), ("(2 others)", 10)]
    assert add_up(top(ordered, 1)).cost == add_up(ordered).cost == Money(22)
    assert top(ordered, 3) == ordered
    assert add_up([]) == Line(keys=("total",))


def test_quarters_begin_on_the_quarter_from_1970_to_2090() -> None:
    for year in (1970, 2026, 2090):
        moment = datetime(year, 3, 29, 1, 14, 59, 999_999, tzinfo=UTC)
        assert at(quarter_of(moment)) == datetime(year, 3, 29, 1, tzinfo=UTC)


def test_the_kinds_are_all_fields_of_money() -> None:
    assert set(KINDS) < {"thinking", "uncached", "is_exact", *KINDS}
