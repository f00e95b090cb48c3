"""Prices as they are published: every model and modifier that we know figures of, by hand, and by the library's own
calculator wherever that is right. Where it is known to be wrong, the difference is written down here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from genai_prices.data import providers
from tests.prices.test_genai import exact_pico, says_the_library

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, UnknownPrice, Usage
from crewcap.prices import Book

CLAUDE = {  # dollars per million tokens: in, out, read, 5-minute write, 1-hour write
    "claude-opus-4-20250514": ("15", "75", "1.5", "18.75", "30"),
    "claude-opus-4-5": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-4-6": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-4-7": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-4-8": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-5": ("5", "25", "0.5", "6.25", "10"),
    "claude-opus-5-5": ("4", "20", "0.2", "5", "8"),
    "claude-sonnet-4-20250514": ("3", "15", "0.3", "3.75", "6"),
    "claude-sonnet-4-5": ("3", "15", "0.3", "3.75", "6"),
    "claude-sonnet-4-6": ("3", "15", "0.3", "3.75", "6"),
    "claude-sonnet-5": ("2", "10", "0.2", "2.5", "4"),
    "claude-sonnet-5-5": ("2", "10", "0.1", "2.5", "4"),
    "claude-haiku-4-5": ("1", "5", "0.1", "1.25", "2"),
    "claude-haiku-5-5": ("0.1", "0.5", "0.01", "0.125", "0.2"),
    "claude-fable-5-1": ("10", "50", "0.25", "12.5", "20"),
    "claude-fable-5-2": ("8", "40", "0.2", "10", "16"),
    "claude-mythos-5-2": ("8", "40", "0.2", "10", "16"),
}
OTHERS = {  # in, out, read; then the prompt above which they are multiplied, and by what: in and read, out
    ("openai", "gpt-5"): ("1.25", "10", "0.125", 0, "1", "1"),
    ("openai", "gpt-5.1-codex"): ("1.25", "10", "0.125", 0, "1", "1"),
    ("openai", "gpt-5.2-codex"): ("1.75", "14", "0.175", 0, "1", "1"),
    ("openai", "gpt-5.3-codex"): ("1.75", "14", "0.175", 0, "1", "1"),
    ("openai", "gpt-5.4"): ("2.5", "15", "0.25", 272_000, "2", "1.5"),
    ("openai", "gpt-5.5"): ("5", "30", "0.5", 272_000, "2", "1.5"),
    ("openai", "gpt-5.6-sol"): ("4", "20", "0.4", 272_000, "2", "1.5"),
    ("google", "gemini-2.5-pro"): ("1.25", "10", "0.125", 200_000, "2", "1.5"),
    ("google", "gemini-3.1-pro-preview"): ("2", "12", "0.2", 200_000, "2", "1.5"),
}
US = Modifiers(geo="us")
BATCH = Modifiers(tier="batch")
FAST = Modifiers(speed="fast")
USAGE = Usage(input=1_003, cache_read=50_021, write_5m=7_001, write_1h=3_007, output=2_011, pieces={"web_search": 3})
BATCHES_ARE_LISTED = datetime(2026, 10, 14, tzinfo=UTC)
ANTHROPIC = next(each for each in providers if each.id == "anthropic")
MILLION = 10**6


def pico(usd: str | Decimal) -> int:
    """Of a token, where this is the price of a million."""
    whole = Decimal(usd) * MILLION
    assert whole == int(whole)
    return int(whole)


def by_hand(usd: tuple[str, ...], usage: Usage, *, factor: str = "1") -> Money:
    """Each kind at its price, fees at $0.01, the sum rounded up once."""
    in_, out, read, write_5m, write_1h = (pico(Decimal(each) * Decimal(factor)) for each in usd)
    tokens = usage.input * in_ + usage.cache_read * read + usage.write_5m * write_5m + usage.write_1h * write_1h
    return Money.from_pico(tokens + usage.output * out + usage.pieces.get("web_search", 0) * 10**10)


@pytest.mark.parametrize("model", CLAUDE)
def test_a_claude_model_costs_what_is_published(book: Book, model: str, now: datetime) -> None:
    """By hand and by the library's calculator, to the last pico-dollar; `[1m]` is the same model."""
    card = book.card("anthropic", model, at=now)
    assert card.cost(USAGE) == by_hand(CLAUDE[model], USAGE)
    theirs = says_the_library(ANTHROPIC, card.model, USAGE, now, {})
    assert Fraction(exact_pico(card, USAGE)) == theirs
    assert book.card("anthropic", f"{model}[1m]", at=now) == card


@pytest.mark.parametrize("model", [each for each in CLAUDE if "20250514" not in each])
def test_a_batch_halves_every_kind_of_a_claude_model(book: Book, model: str, now: datetime) -> None:
    """From the day on which batch prices are listed; the library says the same, and full price before."""
    card = book.card("anthropic", model, at=now, modifiers=BATCH)
    assert card.cost(USAGE) == by_hand(CLAUDE[model], USAGE, factor="0.5")
    context = {"processing": "batch"}
    assert Fraction(exact_pico(card, USAGE)) == says_the_library(ANTHROPIC, card.model, USAGE, now, context)
    before = BATCHES_ARE_LISTED - timedelta(seconds=1)
    if model in {"claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"}:  # sold before and after
        plain = says_the_library(ANTHROPIC, card.model, USAGE, before, {})
        assert says_the_library(ANTHROPIC, card.model, USAGE, before, context) == plain
        with pytest.raises(UnknownPrice):
            book.card("anthropic", model, at=before, modifiers=BATCH)


@pytest.mark.parametrize(
    "model", [each for each in CLAUDE if int(each.split("-")[2]) >= 5 or each.endswith(("4-6", "4-7", "4-8"))]
)
def test_the_us_cost_a_tenth_more_where_the_library_adds_nothing(book: Book, model: str, now: datetime) -> None:
    """Its calculator takes the word and prices the request as if it were not there."""
    card = book.card("anthropic", model, at=now, modifiers=US)
    assert card.cost(USAGE) == by_hand(CLAUDE[model], USAGE, factor="1.1")
    theirs = says_the_library(ANTHROPIC, card.model, USAGE, now, {"inference_geo": "us"})
    assert theirs == says_the_library(ANTHROPIC, card.model, USAGE, now, {}) < exact_pico(card, USAGE)
    both = book.card("anthropic", model, at=now, modifiers=Modifiers(geo="us", tier="batch"))
    assert both.cost(USAGE) == by_hand(CLAUDE[model], USAGE, factor="0.55")


@pytest.mark.parametrize(
    ("model", "factor", "is_known_to_the_library"),
    [
        ("claude-opus-4-6", "6", False),
        ("claude-opus-4-7", "6", False),
        ("claude-opus-4-8", "2", True),
        ("claude-opus-5", "2", True),
        ("claude-opus-5-5", "2", True),
    ],
)
def test_fast_mode_costs_its_own_price(
    book: Book,
    model: str,
    factor: str,
    is_known_to_the_library: bool,  # noqa: FBT001  (a column)
) -> None:
    at = datetime(2026, 7, 1, tzinfo=UTC) if model.endswith(("4-6", "4-7")) else datetime(2026, 11, 22, tzinfo=UTC)
    card = book.card("anthropic", model, at=at, modifiers=FAST)
    assert card.cost(USAGE) == by_hand(CLAUDE[model], USAGE, factor=factor)
    us = book.card("anthropic", model, at=at, modifiers=Modifiers(speed="fast", geo="us"))
    assert us.cost(USAGE) == by_hand(CLAUDE[model], USAGE, factor=str(Decimal(factor) * Decimal("1.1")))
    theirs = says_the_library(ANTHROPIC, card.model, USAGE, at, {"speed": "fast"})
    plain = says_the_library(ANTHROPIC, card.model, USAGE, at, {})
    assert (theirs == exact_pico(card, USAGE)) is is_known_to_the_library
    assert (theirs == plain) is not is_known_to_the_library
    with pytest.raises(UnknownPrice):  # the library would price the batch alone
        book.card("anthropic", model, at=at, modifiers=Modifiers(speed="fast", tier="batch"))
    with pytest.raises(UnknownPrice):  # and this one as the standard model
        book.card("anthropic", f"{model}-fast", at=at)


@pytest.mark.parametrize(("provider", "model"), OTHERS)
def test_other_vendors_models_cost_what_is_published_on_both_sides_of_their_cliff(
    book: Book, provider: str, model: str, now: datetime
) -> None:
    """The whole request is dearer once its prompt is a token longer."""
    in_, out, read, cliff, more_in, more_out = OTHERS[provider, model]
    card = book.card(provider, model, at=now)
    info = next(each for each in providers if each.id == provider)
    small = Usage(input=1_003, cache_read=50_021, output=2_011)
    usages = [(small, "1", "1")]
    if cliff:
        usages += [
            (Usage(input=cliff - 7, cache_read=7, output=11), "1", "1"),
            (Usage(input=cliff - 6, cache_read=7, output=11), more_in, more_out),
        ]
    for usage, times_in, times_out in usages:
        fresh = usage.input * pico(in_) + usage.cache_read * pico(read)
        expected = fresh * int(times_in) + usage.output * int(pico(out) * Fraction(times_out))
        assert exact_pico(card, usage) == expected == says_the_library(info, card.model, usage, now, {})


def test_gpt_5_6_charges_for_cache_writes(book: Book, now: datetime) -> None:
    card = book.card("openai", "gpt-5.6-sol", at=now)
    assert card.rates.write_5m == pico("5") > card.rates.input


@pytest.mark.parametrize(
    ("model", "share"),
    [
        ("claude-opus-5-5", 20),
        ("claude-sonnet-5-5", 20),
        ("claude-fable-5-1", 40),
        ("claude-fable-5-2", 40),
        ("claude-mythos-5-2", 40),
        ("claude-sonnet-5", 10),
    ],
)
def test_a_cache_read_is_the_share_of_its_own_model(book: Book, model: str, share: int, now: datetime) -> None:
    """A tenth on most, and less on the newest: no factor is the same for all."""
    rates = book.card("anthropic", model, at=now).rates
    assert rates.input == share * rates.cache_read


@pytest.mark.parametrize("model", CLAUDE)
def test_writes_cost_a_quarter_and_the_whole_more(book: Book, model: str, now: datetime) -> None:
    rates = book.card("anthropic", model, at=now).rates
    assert (4 * rates.write_5m, rates.write_1h) == (5 * rates.input, 2 * rates.input)


def test_a_search_costs_a_cent_whatever_the_tokens_are_multiplied_by(book: Book, now: datetime) -> None:
    searched = Usage(pieces={"web_search": 1})
    for speed, geo, tier in product(("standard", "fast"), ("global", "us"), ("standard", "batch")):
        try:
            card = book.card(
                "anthropic", "claude-opus-5-5", at=now, modifiers=Modifiers(speed=speed, geo=geo, tier=tier)
            )
        except UnknownPrice:
            assert (speed, tier) == ("fast", "batch")
        else:
            assert card.cost(searched) == Money.usd("0.01")
