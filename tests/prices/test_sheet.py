"""A published price sheet becomes whole pico-dollars, exactly or rounded up and said so."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.pricing import Rates
from crewcap.prices.sheet import Compiled, Price, Sheet, Sizes, compile_card

D = Decimal


def card_of(sheet: Sheet, factor: str = "1", sizes: Sizes | None = None) -> Compiled:
    return compile_card(sheet, provider="acme", model="one", sizes=sizes or Sizes(), factor=D(factor))


def sheet_of(**usd: str) -> Sheet:
    return Sheet(kinds={kind: Price(base=D(text)) for kind, text in usd.items()})


def test_dollars_per_million_tokens_are_whole_pico_dollars_per_token() -> None:
    compiled = card_of(sheet_of(input="2", cache_read="0.2", write_5m="2.5", write_1h="4", output="10"))
    assert compiled.card.rates == Rates(
        input=2_000_000, cache_read=200_000, write_5m=2_500_000, write_1h=4_000_000, output=10_000_000
    )
    assert not compiled.is_rounded
    assert compiled.card.unpriced == frozenset()


def test_kinds_without_a_price_of_their_own_cost_what_their_tokens_cost_otherwise() -> None:
    assert card_of(sheet_of(input="3", output="15")).card.rates == Rates(
        input=3_000_000, cache_read=3_000_000, write_5m=3_000_000, write_1h=3_000_000, output=15_000_000
    )


def test_a_one_hour_write_is_refused_where_only_the_five_minute_one_is_priced() -> None:
    assert card_of(sheet_of(input="3", write_5m="3.75", output="15")).card.unpriced == {"write_1h"}


def test_tiers_are_cut_at_every_threshold_of_every_kind() -> None:
    """A kind that has no tier of its own keeps its price above the others' thresholds."""
    sheet = Sheet(
        kinds={
            "input": Price(base=D(1), above=((200_000, D(2)),)),
            "cache_read": Price(base=D("0.1")),
            "output": Price(base=D(5), above=((100_000, D(7)), (200_000, D(8)))),
        }
    )
    card = card_of(sheet).card
    seen = [(tier.above, tier.rates.input, tier.rates.cache_read, tier.rates.output) for tier in card.tiers]
    assert seen == [(100_000, 1_000_000, 100_000, 7_000_000), (200_000, 2_000_000, 100_000, 8_000_000)]


def test_a_factor_multiplies_tokens_and_never_fees() -> None:
    sheet = Sheet(kinds={"input": Price(base=D(2)), "output": Price(base=D(10))}, pieces={"web_search": D("0.01")})
    card = card_of(sheet, "1.1").card
    assert (card.rates.input, card.rates.output) == (2_200_000, 11_000_000)
    assert card.per_piece == {"web_search": 10_000_000_000}


@given(st.decimals("0", "100", places=8), st.decimals("0.01", "2", places=4))
def test_a_rate_is_rounded_up_by_less_than_one_pico_dollar_and_flagged(usd: Decimal, factor: Decimal) -> None:
    compiled = card_of(sheet_of(input=str(usd), output=str(usd)), str(factor))
    exact = usd * factor * 1_000_000
    assert 0 <= compiled.card.rates.input - exact < 1
    assert compiled.is_rounded == (compiled.card.rates.input != exact)


def test_float_noise_in_a_published_price_is_rounded_up_and_flagged() -> None:
    """Some routed prices carry the tail of a float; the card says that it is not exact."""
    compiled = card_of(sheet_of(input="0.30000000000000004", output="1"))
    assert compiled.card.rates.input == 300_001
    assert compiled.is_rounded


def test_the_id_of_a_card_changes_with_anything_that_it_says() -> None:
    base = sheet_of(input="2", output="10")
    cards = [
        card_of(base),
        card_of(base, "1.1"),
        card_of(sheet_of(input="2", output="11")),
        card_of(base, sizes=Sizes(context_window=1)),
        card_of(base, sizes=Sizes(max_output=1)),
        card_of(base, sizes=Sizes(image_tokens=1)),
        card_of(Sheet(kinds=base.kinds, pieces={"web_search": D(1)})),
        card_of(sheet_of(input="2", output="10", write_5m="2")),
    ]
    assert len({each.card.id for each in cards}) == len(cards)
    assert card_of(base).card == cards[0].card


@pytest.mark.parametrize(("threshold", "usd"), [(0, 1), (99, 1), (100, 2), (101, 2), (200, 3), (900, 3)])
def test_a_price_knows_what_it_is_just_above_a_threshold(threshold: int, usd: int) -> None:
    assert Price(base=D(1), above=((100, D(2)), (200, D(3)))).at(threshold) == usd
