"""How much is held for a request, and how far its limit comes down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crewcap.core.asks import Ask, Bound
from crewcap.core.holding import (
    clamp_for,
    counted_bound,
    hold_for,
    least_hold,
    least_output,
    most_output,
    prompt_bound,
)
from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier, UnknownPrice

RATES = Rates(input=3_000_000, cache_read=300_000, write_5m=3_750_000, write_1h=6_000_000, output=15_000_000)
CARD = RateCard(
    provider="p",
    model="m",
    rates=RATES,
    per_piece={"web_search": 10_000_000_000},
    context_window=200_000,
    max_output=64_000,
)
DEAR = replace(CARD, rates=replace(RATES, write_5m=7_500_000, output=30_000_000))


def ask(**changes: Any) -> Ask:
    """A request of 10,000 bytes that asks for 32,000 tokens."""
    plain = Ask(
        model="m",
        stream=True,
        max_output=32_000,
        thinking_budget=0,
        bound=Bound(text_bytes=9_744, pad=256),
        write="5m",
        modifiers=(Modifiers(),),
        pieces={},
    )
    return replace(plain, **changes)


def test_the_hold_is_the_prompt_at_its_dearest_and_the_whole_limit() -> None:
    """10,000 tokens at the 5-minute write price, 32,000 at the output price."""
    assert hold_for(ask(), [CARD], 32_000) == Money.usd("0.0375") + Money.usd("0.48")


def test_the_dearest_card_that_can_be_met_counts() -> None:
    """Another date, region or speed may bring another price."""
    assert hold_for(ask(), [CARD, DEAR], 32_000) == hold_for(ask(), [DEAR], 32_000)


def test_a_request_that_meets_no_card_is_refused_and_not_held_at_nothing() -> None:
    """A hold of nothing fits every budget."""
    with pytest.raises(UnknownPrice, match="a price for m is not in the price book"):
        hold_for(ask(), [], 32_000)
    with pytest.raises(UnknownPrice):
        least_hold(ask(), [])
    assert clamp_for(ask(), [], Money.usd(5)) is None


def test_a_long_prompt_meets_the_long_price() -> None:
    """The tier counts for the whole request once the bound may cross it."""
    tiered = replace(CARD, tiers=(Tier(above=9_999, rates=DEAR.rates),))
    assert hold_for(ask(), [tiered], 32_000) == hold_for(ask(), [DEAR], 32_000)


def test_images_count_at_the_models_maximum() -> None:
    """Their bytes say nothing about their tokens."""
    bound = Bound(text_bytes=1_000, pad=256, images=2)
    assert prompt_bound(bound, CARD) == 1_256 + 2 * 4_800
    assert prompt_bound(bound, replace(CARD, image_tokens=1_600)) == 1_256 + 2 * 1_600


def test_what_the_body_does_not_hold_fills_the_window() -> None:
    """And a model of unknown window may not carry it."""
    bound = Bound(text_bytes=1_000, pad=256, whole_window=True)
    unknown = replace(CARD, context_window=None)
    assert prompt_bound(bound, CARD) == 200_000
    assert prompt_bound(replace(bound, window_at_least=1_000_000), CARD) == 1_000_000
    assert prompt_bound(bound, unknown) is None
    with pytest.raises(UnknownPrice, match="the context window for p/m"):
        hold_for(ask(bound=bound), [unknown], 100)


def test_more_than_one_run_holds_the_window_for_each() -> None:
    """(n + 1) x (window + limit) + fees, whatever the body's size."""
    searches = ask(samplings=4, pieces={"web_search": 3})
    one_run = Money.usd("0.75") + Money.usd("0.015")
    assert hold_for(searches, [CARD], 1_000) == Money(4 * one_run.nano) + Money.usd("0.03")
    with pytest.raises(UnknownPrice, match="web_search"):
        hold_for(searches, [replace(CARD, per_piece={})], 1_000)


def test_an_inner_limit_is_not_lowered_with_the_outer_one() -> None:
    """A fallback's own limit is not in our hand."""
    inner = ask(samplings=2, inner_output=9_000)
    assert hold_for(inner, [CARD], 1_000) == hold_for(inner, [CARD], 9_000)


def test_a_better_bound_replaces_the_bytes_of_a_single_run_only() -> None:
    """A count call, or the settled prompt that this one goes on from, knows one run."""
    assert hold_for(ask(), [CARD], 0, prompt_tokens=1_000) == Money.usd("0.00375")
    twice = ask(samplings=2)
    assert hold_for(twice, [CARD], 0, prompt_tokens=1_000) == hold_for(twice, [CARD], 0)


def test_a_count_gets_three_percent_and_five_hundred_on_top() -> None:
    """It is an estimate."""
    assert counted_bound(22_505) == 23_681
    assert counted_bound(0) == 500


def test_the_limit_comes_down_to_what_the_room_pays() -> None:
    """To the token: one more would not fit."""
    room = Money.usd("0.10")
    limit = clamp_for(ask(), [CARD], room)
    assert limit == 4_166
    assert hold_for(ask(), [CARD], limit) <= room < hold_for(ask(), [CARD], limit + 1)


def test_a_request_that_fits_keeps_its_limit() -> None:
    """Nothing is taken away without need."""
    assert clamp_for(ask(), [CARD], Money.usd(5)) == 32_000


def test_no_limit_is_lowered_below_what_is_useful() -> None:
    """1,024 tokens, or what was asked for where that is less."""
    assert clamp_for(ask(), [CARD], Money.usd("0.0375") + Money.usd("0.01536")) == 1_024
    assert clamp_for(ask(), [CARD], Money.usd("0.0375") + Money.usd("0.01535")) is None
    assert clamp_for(ask(max_output=100), [CARD], Money.usd("0.0375") + Money.usd("0.0015")) == 100
    assert clamp_for(ask(max_output=100), [CARD], Money.usd("0.0375") + Money.usd("0.0014")) is None


def test_the_thinking_budget_is_left_whole() -> None:
    """Changing it in flight would break the cache; a limit at the budget would leave no answer."""
    thinking = ask(thinking_budget=8_000)
    assert least_output(thinking, 32_000) == 9_024
    assert least_output(ask(thinking_budget=31_999), 32_000) == 32_000
    assert clamp_for(thinking, [CARD], Money.usd("0.10")) is None
    assert clamp_for(thinking, [CARD], Money.usd("0.20")) == 10_833


def test_a_request_that_only_warms_the_cache_is_served_or_not() -> None:
    """Its limit is zero; there is nothing to lower."""
    warm = ask(max_output=0)
    assert clamp_for(warm, [CARD], Money.usd("0.0375")) == 0
    assert clamp_for(warm, [CARD], Money.usd("0.0374")) is None


def test_the_smallest_room_that_would_work_can_be_named() -> None:
    """A refusal names the smallest cap with which the request could be served."""
    least = least_hold(ask(), [CARD, DEAR])
    assert clamp_for(ask(), [CARD, DEAR], least) == 1_024
    assert clamp_for(ask(), [CARD, DEAR], least - Money(1)) is None


def test_where_no_limit_was_asked_for_the_models_own_counts() -> None:
    """Other dialects may leave it out; then the gateway writes it in."""
    silent = ask(max_output=None)
    assert clamp_for(silent, [CARD], Money.usd(50)) == 64_000
    with pytest.raises(UnknownPrice, match="an output limit"):
        clamp_for(silent, [replace(CARD, max_output=None)], Money.usd(50))


def test_the_clamp_of_several_runs_divides_the_room() -> None:
    """Each run gets its share, fees come off first."""
    searches = ask(samplings=2, pieces={"web_search": 1})
    limit = clamp_for(searches, [CARD], Money.usd("1.60"))
    assert limit is not None
    assert hold_for(searches, [CARD], limit) <= Money.usd("1.60") < hold_for(searches, [CARD], limit + 1)


def test_every_answer_has_the_whole_limit_and_what_is_billed_beside_it() -> None:
    """A model may write several answers, and think beside the limit that it is sent."""
    two = ask(answers=2, beside_output=1_000)
    assert most_output(two, CARD, 4_000) == 10_000
    assert hold_for(two, [CARD], 4_000) == hold_for(ask(), [CARD], 10_000)
    limit = clamp_for(two, [CARD], hold_for(two, [CARD], 4_000))
    assert limit == 4_000
    assert clamp_for(two, [CARD], hold_for(two, [CARD], 1_024) - Money(1)) is None


def test_what_has_no_bound_beside_the_limit_is_the_models_largest_output() -> None:
    """And it has a hold only where that is known."""
    free = ask(beside_output=None)
    assert most_output(free, CARD, 4_000) == 68_000
    with pytest.raises(UnknownPrice, match="an output limit"):
        hold_for(free, [replace(CARD, max_output=None)], 4_000)


def test_a_prompt_that_may_be_billed_at_another_price_is_held_at_the_dearest() -> None:
    """Spoken tokens may cost more than written ones, where the card says so."""
    card = replace(CARD, per_piece={"input_audio_token": 9_000_000})
    spoken = ask(apart=frozenset({"input_audio_token", "cache_audio_read_token"}))
    assert hold_for(spoken, [card], 0) == Money.usd("0.09")
    assert hold_for(spoken, [CARD], 0) == hold_for(ask(), [card], 0) == Money.usd("0.0375")
    assert clamp_for(spoken, [card], Money.usd("0.24")) == 10_000
