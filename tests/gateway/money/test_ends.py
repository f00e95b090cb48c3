"""How each end of a request is booked, on values: never below the bill, whatever the answer says or leaves out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, RateCard, UnknownPrice, Usage
from crewcap.gateway.money.ends import Sent, after_first_event, end_of_stream, settlement
from crewcap.prices import Book, load
from crewcap.prices.overrides import parse
from crewcap.stores import Settlement
from crewcap.wire import Reading

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL, CHEAP, DEAR = "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-1"
HELD = Money.usd("0.02")
PROMPT = Usage(input=1_000)
TOLD = Usage(input=1_000, output=200)


class OnePrice:
    """A book of one card, under whatever name: for price lists that have gaps."""

    hash = "one"

    def __init__(self, card: RateCard) -> None:
        self._card = card

    def resolve(self, provider: str, name: str, *, at: datetime) -> str:
        del provider, at
        return name

    def card(self, provider: str, model: str, *, at: datetime, modifiers: Modifiers = Modifiers()) -> RateCard:  # noqa: B008  (frozen)
        del provider, model, at, modifiers
        return self._card

    def reachable(self, provider: str, model: str, **when: Any) -> tuple[RateCard, ...]:
        del provider, model, when
        return (self._card,)


def sent(book: Book, **changes: Any) -> Sent:
    plain = Sent(
        hold=HoldId("hold-1"),
        held=HELD,
        dialect="anthropic",
        prices="anthropic",
        model=MODEL,
        cards=(book.card("anthropic", MODEL, at=NOW),),
        prompt_bound=1_300,
        output_limit=1_000,
        write="none",
        samplings=1,
        sent_at=NOW,
    )
    return replace(plain, **changes)


def told(usage: Usage | None = TOLD, **changes: Any) -> Reading:
    plain = Reading(
        model=MODEL, usage=usage, usage_is_whole=usage is not None, prompt_is_exact=usage is not None, has_started=True
    )
    return replace(plain, **changes)


def complete(book: Book, reading: Reading, **changes: Any) -> Settlement:
    end = replace(reading, is_complete=True)
    return settlement(sent(book, **changes), "complete", end, book=book, at=NOW, status=200)


def cut(book: Book, reading: Reading, **changes: Any) -> Settlement:
    return settlement(sent(book, **changes), "cut", reading, book=book, at=NOW, status=200)


def test_a_whole_answer_settles_at_its_exact_cost(book: Book) -> None:
    """1,000 tokens at $3 and 200 at $15 the million."""
    booked = complete(book, told())
    assert (booked.kind, booked.spent, booked.uncertain) == ("settled", Money.usd("0.006"), ZERO)
    assert (booked.reason, booked.incident) == ("", "")


@pytest.mark.parametrize(
    ("dialect", "reading", "is_broken", "end"),
    [
        ("anthropic", Reading(has_started=True, is_complete=True), False, "complete"),
        ("anthropic", Reading(has_started=True, is_complete=True), True, "complete"),
        ("gemini", Reading(has_started=True, is_complete=True), False, "complete"),
        ("gemini", Reading(has_started=True, is_complete=True), True, "cut"),
        ("openai", Reading(has_started=True), False, "cut"),
        ("openai", Reading(), False, "no_answer"),
        ("gemini", Reading(), True, "no_answer"),
    ],
)
def test_a_stream_without_an_end_mark_is_whole_only_where_its_connection_ends_well(
    dialect: str,
    reading: Reading,
    is_broken: bool,  # noqa: FBT001  (parametrized)
    end: str,
) -> None:
    assert end_of_stream(dialect, reading, is_broken=is_broken) == end


def test_an_answer_of_openais_that_is_cut_keeps_its_whole_hold(book: Book) -> None:
    """Nothing is told before the last event; what was told besides can only be more."""
    usage = Usage(input=10, output=2)
    reading = told(usage, model="gpt-5.5")
    booked = cut(book, reading, dialect="openai", prices="openai", model="gpt-5.5")
    assert (booked.kind, booked.spent, booked.uncertain) == ("uncertain", ZERO, HELD)


def test_an_answer_that_cannot_be_priced_is_booked_with_what_is_billed_apart(book: Book) -> None:
    """Sound costs three times the text of the same model, also where the answer names a model that nobody knows."""
    card = book.card("google", "gemini-2.5-flash", at=NOW)
    usage = Usage(input=1_000_000, apart={"input_audio_token": 1_000_000})
    booked = complete(book, told(usage, model="gemini-99"), prices="google", model="gemini-2.5-flash", cards=(card,))
    assert booked.spent == Money.usd("1.00")
    assert "cannot be priced" in booked.incident


def test_an_answer_that_ends_without_telling_its_usage_is_booked_as_if_it_was_cut(book: Book) -> None:
    """Nothing told: the whole hold. The prompt told: that is exact, and the output at its limit. And it says why."""
    nothing = complete(book, told(None))
    assert (nothing.kind, nothing.spent, nothing.uncertain) == ("uncertain", ZERO, HELD)
    half = complete(book, told(PROMPT, usage_is_whole=False))
    assert (half.kind, half.spent, half.uncertain) == ("uncertain", Money.usd("0.003"), Money.usd("0.015"))
    vague = complete(book, told(PROMPT, usage_is_whole=False, prompt_is_exact=False))
    assert (vague.kind, vague.spent, vague.uncertain) == ("uncertain", ZERO, HELD)
    assert {each.reason for each in (nothing, half, vague)} == {"the answer does not tell its usage"}


def test_an_answer_that_is_cut_is_charged_for_all_that_it_could_have_written(book: Book) -> None:
    """The prompt exact, the output at its limit, or at what was told of it where that is more."""
    booked = cut(book, told(PROMPT))
    assert (booked.spent, booked.uncertain) == (Money.usd("0.003"), Money.usd("0.015"))
    over = cut(book, told(replace(PROMPT, output=2_000)))
    assert (over.spent, over.uncertain) == (Money.usd("0.003"), Money.usd("0.03"))
    assert "2000 output tokens" in over.incident


def test_a_list_of_one_run_does_not_make_the_output_of_a_cut_answer_free(book: Book) -> None:
    """Where `usage.iterations` stands in the first event, it tells the prompt and no more."""
    booked = cut(book, told(PROMPT, samplings=((MODEL, PROMPT),)))
    assert (booked.spent, booked.uncertain) == (Money.usd("0.003"), Money.usd("0.015"))
    several = cut(book, told(PROMPT, samplings=((MODEL, PROMPT), (MODEL, PROMPT))))
    assert several.uncertain == HELD


def test_a_cut_answer_that_told_of_more_than_was_held_is_charged_for_that(book: Book) -> None:
    """Also where the prompt's split is not known: what was told is the least that it cost."""
    told_of = Usage(input=50_000)
    booked = cut(book, told(told_of, prompt_is_exact=False, usage_is_whole=False))
    assert booked.uncertain == Money.usd("0.15")
    assert "was held" in booked.incident
    small = cut(book, told(PROMPT, prompt_is_exact=False, usage_is_whole=False))
    assert (small.uncertain, small.incident) == (HELD, "")


@pytest.mark.parametrize("models", [(DEAR, CHEAP), (CHEAP, DEAR)])
def test_a_dearer_model_is_an_incident_wherever_it_stands_in_the_list(book: Book, models: tuple[str, str]) -> None:
    """A run that nobody asked for can hide behind a cheap one."""
    runs = tuple((model, Usage(input=10, output=1)) for model in models)
    booked = complete(book, told(Usage(input=20, output=2), samplings=runs))
    assert booked.spent < HELD
    assert DEAR in booked.incident


def test_a_price_that_nobody_told_is_never_that_of_something_else(book: Book) -> None:
    """A 1-hour write on a list that prices only the shorter one: an incident, and the whole hold stays charged."""
    gap = replace(book.card("anthropic", MODEL, at=NOW), unpriced=frozenset({"write_1h"}))
    usage = Usage(write_1h=1_000, output=200)
    order = sent(book, cards=(gap,))
    with pytest.raises(UnknownPrice):
        gap.cost(usage)
    reading = replace(told(usage), is_complete=True)
    booked = settlement(order, "complete", reading, book=OnePrice(gap), at=NOW, status=200)
    assert booked.spent + booked.uncertain >= HELD
    assert "write_1h" in booked.incident
    assert after_first_event(order, told(usage), book=OnePrice(gap), at=NOW) is None
    asked = replace(order, cards=(book.card("anthropic", MODEL, at=NOW),), write="1h")
    dearer = settlement(asked, "complete", replace(told(), is_complete=True), book=OnePrice(gap), at=NOW, status=200)
    assert "dearer price" in dearer.incident


def test_the_hold_shrinks_only_for_one_run_of_one_model(book: Book) -> None:
    """Once, downwards, from the exact split; where several runs are asked for or listed, it stays."""
    order = sent(book)
    assert after_first_event(order, told(PROMPT), book=book, at=NOW) == Money.usd("0.018")
    assert after_first_event(order, told(PROMPT, prompt_is_exact=False), book=book, at=NOW) is None
    assert after_first_event(replace(order, samplings=2), told(PROMPT), book=book, at=NOW) is None
    runs = ((MODEL, PROMPT), (DEAR, PROMPT))
    assert after_first_event(order, told(PROMPT, samplings=runs), book=book, at=NOW) is None
    assert after_first_event(order, told(PROMPT, model="claude-unheard-of"), book=book, at=NOW) is None


def test_the_dearer_price_counts_where_it_changed_in_between() -> None:
    """Booked at the dearer of the prices at send and at end."""
    lines = """
        [[price]]
        provider = "p"
        model = "m"
        until = 2026-11-22
        usd_per_mtok = { in = "1", out = "1" }
        [[price]]
        provider = "p"
        model = "m"
        from = 2026-11-22
        usd_per_mtok = { in = "2", out = "2" }
    """
    book = Book(parse(lines, name="test"))
    before, after = datetime(2026, 11, 21, 23, 59, tzinfo=UTC), datetime(2026, 11, 22, 0, 1, tzinfo=UTC)
    cards = book.reachable("p", "m", start=before, end=after + timedelta(hours=1), modifiers=[Modifiers()])
    order = replace(sent(load()), prices="p", model="m", cards=cards, sent_at=before)
    reading = replace(told(model="m"), is_complete=True)
    booked = settlement(order, "complete", reading, book=book, at=after, status=200)
    assert booked.spent == Money.usd("0.0024")


@pytest.mark.parametrize("end", ["unsent", "plain_error"])
def test_what_costs_nothing_is_released(book: Book, end: Any) -> None:
    booked = settlement(sent(book), end, Reading(), book=book, at=NOW, status=500, reason="why")
    assert (booked.kind, booked.spent, booked.uncertain, booked.reason) == ("released", ZERO, ZERO, "why")
