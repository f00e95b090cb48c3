"""Cost and worst case: what is held is never less than what can be billed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Rates, Tier, UnknownPrice, Usage, Write, worst_case

rates_of_a_model = st.builds(
    Rates,
    input=st.integers(0, 20_000_000),
    cache_read=st.integers(0, 20_000_000),
    write_5m=st.integers(0, 20_000_000),
    write_1h=st.integers(0, 20_000_000),
    output=st.integers(0, 200_000_000),
)
writes: st.SearchStrategy[Write] = st.sampled_from(["none", "5m", "1h"])
prompts = st.integers(0, 1_000_000)
outputs = st.integers(0, 128_000)


@st.composite
def cards(draw: st.DrawFn) -> RateCard:
    """Any card: rates in any order of size, and up to two tiers that may be cheaper than what lies below them."""
    starts = sorted(draw(st.sets(st.integers(0, 900_000), max_size=2)))
    tiers = tuple(Tier(above=start, rates=draw(rates_of_a_model)) for start in starts)
    return RateCard(provider="acme", model="one", rates=draw(rates_of_a_model), tiers=tiers)


@st.composite
def usages(draw: st.DrawFn, *, prompt: int, output: int, write: Write) -> Usage:
    """Any answer that the provider's law allows: a prompt of at most this size, split as the write mark allows."""
    ends = sorted(draw(st.lists(st.integers(0, prompt), min_size=4, max_size=4)))
    fresh, read, short, long = (end - start for start, end in zip([0, *ends], ends, strict=False))
    return Usage(
        input=fresh,
        cache_read=read,
        write_5m=0 if write == "none" else short,
        write_1h=long if write == "1h" else 0,
        output=draw(st.integers(0, output)),
    )


@settings(max_examples=300)
@given(st.data(), st.lists(cards(), min_size=1, max_size=3), prompts, outputs, writes)
def test_a_hold_is_never_less_than_the_bill(
    data: st.DataObject, reachable: list[RateCard], prompt: int, output: int, write: Write
) -> None:
    """For every card that a request can meet and every usage that the limits allow: hold >= cost."""
    held = worst_case(reachable, prompt_tokens=prompt, write=write, output_tokens=output)
    card = data.draw(st.sampled_from(reachable))
    usage = data.draw(usages(prompt=prompt, output=output, write=write))
    assert card.cost(usage) <= held


@given(cards(), prompts, writes, st.integers(0, 10**14).map(Money))
def test_the_output_that_fits_is_the_largest_one_that_does(
    card: RateCard, prompt: int, write: Write, money: Money
) -> None:
    """The clamp is the inverse of the worst case: what it gives fits, and one token more does not."""
    fits = card.output_that_fits(money, prompt_tokens=prompt, write=write)
    prompt_alone = card.most(prompt_tokens=prompt, write=write, output_tokens=0)
    if prompt_alone > money:
        assert fits == 0
        return
    assert card.most(prompt_tokens=prompt, write=write, output_tokens=fits) <= money
    tables = (card.rates, *(tier.rates for tier in card.tiers if prompt > tier.above))
    if any(rates.output for rates in tables):
        assert card.most(prompt_tokens=prompt, write=write, output_tokens=fits + 1) > money


@given(rates_of_a_model, prompts, st.sampled_from(["input", "cache_read", "write_5m", "write_1h", "output"]))
def test_more_tokens_never_cost_less(rates: Rates, tokens: int, kind: str) -> None:
    """Cost rises with tokens, within one table of rates."""
    card = RateCard(provider="acme", model="one", rates=rates)
    fewer, more = (replace(Usage(), **{kind: count}) for count in (tokens, tokens + 1))  # type: ignore[arg-type]  # ints
    assert card.cost(fewer) <= card.cost(more)


@given(cards(), st.tuples(prompts, prompts).map(sorted), st.tuples(outputs, outputs).map(sorted), writes)
def test_a_larger_request_never_holds_less(card: RateCard, prompt: list[int], output: list[int], write: Write) -> None:
    """Monotone also over a tier that is cheaper than the one below it."""
    small = card.most(prompt_tokens=prompt[0], write=write, output_tokens=output[0])
    assert small <= card.most(prompt_tokens=prompt[1], write=write, output_tokens=output[1])


@given(cards(), prompts, outputs)
def test_a_longer_lived_write_never_holds_less(card: RateCard, prompt: int, output: int) -> None:
    none, short, long = (card.most(prompt_tokens=prompt, write=each, output_tokens=output) for each in WRITES)
    assert none <= short <= long


WRITES: tuple[Write, ...] = ("none", "5m", "1h")
SONNET = RateCard(
    provider="anthropic",
    model="claude-sonnet-5",
    rates=Rates(input=2_000_000, cache_read=200_000, write_5m=2_500_000, write_1h=4_000_000, output=10_000_000),
    per_piece={"web_search": 10_000_000_000},
)


def test_the_example_of_the_documentation_costs_what_it_says() -> None:
    """3.1k input, 41k written, 412k read and 6.2k output at Sonnet 5 rates are $0.2531."""
    usage = Usage(input=3_100, write_5m=41_000, cache_read=412_000, output=6_200, thinking=2_000)
    assert SONNET.cost(usage) == Money.usd("0.2531")
    assert SONNET.cost(Usage(input=3_100 + 41_000 + 412_000, output=6_200)) == Money.usd("0.9742")


def test_thinking_is_a_part_of_the_output_and_not_paid_twice() -> None:
    assert SONNET.cost(Usage(output=100, thinking=90)) == SONNET.cost(Usage(output=100))


def test_a_request_is_rounded_up_once_not_kind_by_kind() -> None:
    odd = replace(SONNET, rates=Rates(input=1, cache_read=1, write_5m=1, write_1h=1, output=1))
    assert odd.cost(Usage(input=1, cache_read=1, write_5m=1, write_1h=1, output=1)) == Money(1)
    assert odd.cost(Usage(input=1_000)) == Money(1)
    assert odd.cost(Usage()) == Money(0)


def test_a_tier_prices_the_whole_request_once_the_prompt_is_above_it() -> None:
    """The cliff counts every prompt token, however it is billed, and is not reached by a prompt of exactly its size."""
    dear = Rates(input=4, cache_read=4, write_5m=4, write_1h=4, output=4)
    card = RateCard(
        provider="acme", model="one", rates=Rates(input=1, cache_read=1, write_5m=1, write_1h=1, output=1),
        tiers=(Tier(above=100, rates=dear), Tier(above=200, rates=replace(dear, output=9))),
    )  # fmt: skip
    assert card.rates_for(100) == card.rates
    assert card.rates_for(101) == dear
    assert card.rates_for(201).output == 9
    assert card.rates_for(Usage(input=50, cache_read=51).prompt) == dear


def test_the_worst_case_is_a_cold_cache_at_the_dearest_kind_that_was_asked_for() -> None:
    holds = [SONNET.most(prompt_tokens=1_000_000, write=write, output_tokens=0) for write in WRITES]
    assert holds == [Money.usd(2), Money.usd("2.50"), Money.usd(4)]


def test_a_cache_that_is_dearer_to_read_than_fresh_input_is_held_at_its_own_price() -> None:
    odd = replace(SONNET, rates=replace(SONNET.rates, cache_read=3_000_000))
    assert odd.most(prompt_tokens=1_000_000, write="none", output_tokens=0) == Money.usd(3)


def test_fees_are_billed_by_the_piece() -> None:
    assert SONNET.cost(Usage(pieces={"web_search": 3})) == Money.usd("0.03")
    assert SONNET.cost(Usage(pieces={"code_execution": 0})) == Money(0)


def test_tokens_with_a_price_of_their_own_are_billed_at_it_in_place_of_their_kind() -> None:
    """They are counted in their kind; a card that does not tell them apart bills them with it."""
    usage = Usage(input=1_000, cache_read=100, apart={"input_audio_token": 300, "cache_audio_read_token": 50})
    told = replace(SONNET, per_piece={"input_audio_token": 5_000_000, "cache_audio_read_token": 400_000})
    plain = SONNET.cost(usage)
    assert plain == SONNET.cost(replace(usage, apart={}))
    dearer = 300 * (5_000_000 - SONNET.rates.input) + 50 * (400_000 - SONNET.rates.cache_read)
    assert told.pico(usage) == SONNET.pico(usage) + dearer


def test_a_fee_that_nobody_priced_is_refused_by_name() -> None:
    with pytest.raises(UnknownPrice, match="code_execution"):
        SONNET.cost(Usage(pieces={"code_execution": 1}))


def test_a_kind_that_is_sold_at_an_unknown_price_is_refused_before_and_after() -> None:
    """A card that knows 5-minute writes and not 1-hour ones may neither hold nor book the longer ones."""
    card = replace(SONNET, unpriced=frozenset({"write_1h"}))
    assert card.most(prompt_tokens=1, write="5m", output_tokens=1) == Money(12_500)
    assert card.cost(Usage(write_5m=1, output=1)) == Money(12_500)
    with pytest.raises(UnknownPrice, match="write_1h"):
        card.most(prompt_tokens=1, write="1h", output_tokens=1)
    with pytest.raises(UnknownPrice, match="write_1h"):
        card.output_that_fits(Money.usd(1), prompt_tokens=1, write="1h")
    with pytest.raises(UnknownPrice, match="write_1h"):
        card.cost(Usage(write_1h=1))


def test_a_request_that_meets_no_card_is_refused_and_not_held_at_nothing() -> None:
    with pytest.raises(UnknownPrice):
        worst_case([], prompt_tokens=1, write="none", output_tokens=1)


def test_an_unknown_price_names_the_model_and_the_nearest_known_one() -> None:
    unknown = UnknownPrice("anthropic/claude-opus-6", nearest="claude-opus-5")
    assert "anthropic/claude-opus-6" in str(unknown)
    assert "claude-opus-5" in str(unknown)
    assert unknown.model == "anthropic/claude-opus-6"
