"""A closed request at today's prices: only what a price made, and only where all that it rests on is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from crewcap.core.budget import ALL, HoldId, Scope
from crewcap.core.cards import Kept
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.core.reprice import Repriced
from crewcap.prices import Book, load
from crewcap.prices.again import Again
from crewcap.prices.overrides import parse, shipped

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
HOLD = HoldId("h")
OLD = load()
DEARER = (
    '[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-5"\n'
    'usd_per_mtok = { in = "4", out = "20", read = "0.4", write_5m = "5", write_1h = "8" }\n'
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A closed request."""

    hold: HoldId = HOLD
    run: str = ""
    scopes: tuple[Scope, ...] = (ALL,)
    kind: str = "settled"
    model: str = "claude-sonnet-5"
    provider: str = "anthropic"
    spent: Money = ZERO
    uncertain: Money = ZERO
    notional: Money = ZERO
    usage: Usage = field(default_factory=lambda: Usage(input=1_000))
    booked_at: datetime = AT
    closed_at: datetime = AT
    card: str = ""
    card_now: str = ""
    corrected: Money = ZERO
    raw_usage: str = ""


def entry(modifiers: Modifiers = Modifiers(), *, is_told: bool = True, **changes: object) -> Entry:  # noqa: B008
    """One that was settled by the shipped book."""
    made = replace(Entry(), **changes)  # type: ignore[arg-type]  # fields by name
    card = OLD.card(made.provider, made.model, at=made.booked_at, modifiers=modifiers)
    said = {"input_tokens": made.usage.input, "output_tokens": made.usage.output}
    told = {"service_tier": modifiers.tier, "inference_geo": modifiers.geo, "speed": modifiers.speed} if is_told else {}
    raw = json.dumps({**said, **told}) if made.provider == "anthropic" else json.dumps(said)
    defaults = {"card": card.id, "spent": card.cost(made.usage), "raw_usage": raw}
    return replace(made, **{name: value for name, value in defaults.items() if name not in changes})  # type: ignore[arg-type]  # as above


def again(text: str = DEARER, *kept: Kept) -> Again:
    dialects = {"google": "gemini"}
    return Again(
        book=Book(parse(text, name="mine.toml").over(shipped())),
        kept={each.card.id: each for each in kept},
        billed_as=lambda provider: (dialects.get(provider, provider), provider),
    )


def after(found: object) -> Money:
    assert isinstance(found, Repriced), found
    return found.after


def test_the_same_book_changes_nothing() -> None:
    it = entry()
    assert again("").price(it) == Repriced(
        hold=it.hold, at=AT, model=it.model, before=it.spent, after=it.spent, old_card=it.card, card=it.card
    )


@pytest.mark.parametrize("modifiers", [Modifiers(), Modifiers(geo="us")])
def test_another_price_is_met_with_the_modifiers_that_the_provider_told(modifiers: Modifiers) -> None:
    factor = 11 if modifiers.geo == "us" else 10
    assert after(again().price(entry(modifiers))) == Money(1_000 * 400 * factor)


def test_a_factor_that_was_learnt_later_is_found_where_the_card_was_the_same() -> None:
    """The words name the region; the card alone would not."""
    it = entry(Modifiers(geo="us"), model="claude-opus-4-5")
    assert OLD.card("anthropic", "claude-opus-4-5", at=AT).id == it.card
    text = '[[factor]]\nprovider = "anthropic"\nmodels = ["claude-opus-4-5"]\nwhen = { geo = "us" }\ntokens = "1.1"\n'
    assert after(again(text).price(it)) == Money(1_000 * 5_500)


def test_a_price_of_other_days_is_no_price_of_that_day() -> None:
    """At the request's own date; of one that ran over a change, the dearer."""
    text = DEARER.replace("usd_per_mtok", "from = 2026-11-11\nusd_per_mtok")
    it = entry()
    assert after(again(text).price(it)) == it.spent
    over = replace(it, closed_at=datetime(2026, 11, 11, 0, 5, tzinfo=UTC))
    assert after(again(text).price(over)) == Money(1_000 * 4_000)


def test_untold_modifiers_are_those_of_the_card_that_was_kept() -> None:
    us = Modifiers(geo="us")
    it = entry(us, is_told=False)
    card = OLD.card("anthropic", it.model, at=AT, modifiers=us)
    assert again().price(it) == "untold"
    kept = Kept(card=card, modifiers=us, book="b", at=AT)
    assert after(again(DEARER, kept).price(it)) == Money(1_000 * 4_400)


def test_another_vendor_s_words_name_no_tier_so_its_card_must_be_known() -> None:
    text = '[[price]]\nprovider = "openai"\nmodel = "gpt-5"\nusd_per_mtok = { in = "2", out = "10" }\n'
    it = entry(provider="openai", model="gpt-5")
    assert again(text).price(it) == "untold"
    kept = Kept(card=OLD.card("openai", "gpt-5", at=AT), modifiers=Modifiers(), book="b", at=AT)
    assert after(again(text, kept).price(it)) == Money(1_000 * 2_000)


def test_what_was_corrected_is_compared_with_what_it_costs_now() -> None:
    it = entry()
    fixed = replace(it, spent=Money(1_000 * 4_000), corrected=Money(1_000 * 2_000), card_now="c2")
    found = again().price(fixed)
    assert isinstance(found, Repriced)
    assert (found.difference, found.old_card) == (ZERO, "c2")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "reconciled"}, "by word"),
        ({"uncertain": Money(1)}, "uncertain"),
        ({"kind": "uncertain", "uncertain": Money(1)}, "uncertain"),
        ({"spent": ZERO, "notional": Money(9)}, "by plan"),
        ({"card": ""}, "unlike its card"),
        ({"kind": "released", "spent": ZERO, "card": ""}, None),
    ],
)
def test_what_no_price_made_is_left_alone(changes: dict[str, object], why: str | None) -> None:
    assert again().price(entry(**changes)) == why  # type: ignore[arg-type]  # fields by name


def test_a_number_that_does_not_follow_from_its_card_is_left_alone() -> None:
    """Something else than a price was at work: nobody knows what a correction would do to it."""
    it = entry()
    kept = Kept(card=OLD.card("anthropic", it.model, at=AT), modifiers=Modifiers(), book="b", at=AT)
    assert again(DEARER, kept).price(replace(it, spent=it.spent + Money(1))) == "unlike its card"


def test_several_models_of_one_answer_are_priced_each_on_its_own() -> None:
    """The price of the one that was called in changes; the others stay."""
    parts = [
        {"type": "message", "model": "claude-haiku-4-5", "input_tokens": 100, "output_tokens": 10},
        {"type": "message", "model": "claude-sonnet-5", "input_tokens": 200, "output_tokens": 20},
    ]
    raw = json.dumps({"input_tokens": 300, "output_tokens": 30, "service_tier": "standard", "iterations": parts})
    usage = Usage(input=300, output=30)
    haiku = OLD.card("anthropic", "claude-haiku-4-5", at=AT)
    before = Money(100 * 1_000 + 10 * 5_000 + 200 * 2_000 + 20 * 10_000)
    it = replace(Entry(), model="claude-haiku-4-5", usage=usage, raw_usage=raw, card=haiku.id, spent=before)
    assert after(again("").price(it)) == before
    assert after(again().price(it)) == before + Money(200 * 2_000 + 20 * 10_000)


def test_a_model_without_a_price_today_is_left_alone() -> None:
    it = replace(entry(), model="claude-nova")
    kept = Kept(card=OLD.card("anthropic", "claude-sonnet-5", at=AT), modifiers=Modifiers(), book="b", at=AT)
    assert again("", kept).price(it) == "unpriced"
