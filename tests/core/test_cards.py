"""Cards are found again by their ids, in today's book or as they were kept."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap import prices
from crewcap.core.cards import Kept, as_text, from_text, settled_at
from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
US = Modifiers(geo="us")
pico = st.integers(0, 2**62)
rates = st.builds(Rates, input=pico, cache_read=pico, write_5m=pico, write_1h=pico, output=pico)
cards = st.builds(
    RateCard,
    provider=st.text(max_size=9),
    model=st.text(max_size=9),
    rates=rates,
    tiers=st.lists(st.builds(Tier, above=pico, rates=rates), max_size=2).map(tuple),
    per_piece=st.dictionaries(st.text(max_size=5), pico, max_size=2),
    context_window=st.none() | pico,
    max_output=st.none() | pico,
    image_tokens=pico,
    unpriced=st.frozensets(st.sampled_from(["write_1h", "write_5m"])),
    id=st.text(max_size=9),
)


@cache
def book() -> prices.Book:
    return prices.load()


@given(cards, st.builds(Modifiers, speed=st.text(max_size=5), geo=st.text(max_size=5), tier=st.text(max_size=5)))
@settings(max_examples=60)
def test_a_card_that_was_kept_is_the_card(card: RateCard, modifiers: Modifiers) -> None:
    assert from_text(as_text(card, modifiers)) == (card, modifiers)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"modifiers":{}}', '{"modifiers":{},"rates":{"a":1}}'])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no price card|Expecting"):
        from_text(text)


def test_a_card_is_found_with_the_modifiers_that_lead_to_it() -> None:
    card = book().card("anthropic", "claude-sonnet-5", at=NOW, modifiers=US)
    assert settled_at(book(), "anthropic", "claude-sonnet-5", card.id, [NOW]) == (card, US)


def test_a_card_that_is_gone_is_the_one_that_was_kept_and_else_a_stand_in() -> None:
    old = RateCard(provider="anthropic", model="claude-sonnet-5", rates=_ONE, id="old")
    kept = {"old": Kept(card=old, modifiers=US, book="b1", at=NOW)}
    assert settled_at(book(), "anthropic", "claude-sonnet-5", "old", [NOW], kept=kept) == (old, US)
    standard = book().card("anthropic", "claude-sonnet-5", at=NOW)
    assert settled_at(book(), "anthropic", "claude-sonnet-5", "old", [NOW]) == (standard, None)
    assert settled_at(book(), "anthropic", "claude-nova", "older", [NOW], kept=kept) == (None, None)


_ONE = Rates(input=1, cache_read=1, write_5m=1, write_1h=1, output=1)
