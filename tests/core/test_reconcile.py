"""What a provider's usage report proves of uncertain holds, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money, total
from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier, UnknownPrice, Usage
from crewcap.core.reconcile import Billed, Booked, Closing, Plan, Report, divide, plan

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RATES = Rates(input=3_000_000, cache_read=300_000, write_5m=3_750_000, write_1h=6_000_000, output=15_000_000)
CARD = RateCard(provider="p", model="m", rates=RATES, per_piece={"web_search": 10_000_000_000})
STANDARD = Modifiers()


def cards(model: str, at: datetime, modifiers: Modifiers) -> RateCard:
    del at
    if model == "unpriced" or modifiers.tier == "unknown":
        raise UnknownPrice(model)
    return replace(CARD, model=model)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def report(*lines: Billed, first: int = -30, last: int = 60) -> Report:
    """Minutes from half an hour before noon to an hour after it."""
    return Report(spans=tuple((minute(n), minute(n + 1)) for n in range(first, last)), lines=lines)


def billed(number: int, *, model: str = "m", **usage: int) -> Billed:
    return Billed(starts_at=minute(number), ends_at=minute(number + 1), model=model, usage=Usage(**usage))  # type: ignore[arg-type]  # tokens


def uncertain(name: str = "h1", *, at: int = 0, held: int = 20_000_000, proved: Usage | None = None) -> Booked:
    return Booked(
        hold=HoldId(name),
        model="m",
        sent_at=minute(at) + timedelta(seconds=30),
        closed_at=minute(at) + timedelta(seconds=50),
        proved=proved or Usage(),
        uncertain=Money(held),
    )


def settled(name: str, *, at: int = 0, model: str = "m", **usage: int) -> Booked:
    return replace(uncertain(name, at=at), uncertain=ZERO, model=model, proved=Usage(**usage))  # type: ignore[arg-type]  # tokens


def closed(found: Plan) -> dict[str, Money]:
    return {closing.hold: closing.cost for closing in found.closings}


def test_what_the_report_has_beyond_the_settled_entries_is_what_the_uncertain_hold_cost() -> None:
    """1,000 in and 500 out were told, 600 in and 300 out are settled: 400 in and 200 out are left."""
    found = plan(report(billed(0, input=1_000, output=500)), [uncertain(), settled("s", input=600, output=300)], cards)
    assert found == Plan(
        closings=(Closing(hold=HoldId("h1"), cost=CARD.cost(Usage(input=400, output=200)), was=Money(20_000_000)),)
    )


def test_a_hold_of_which_the_report_has_nothing_was_not_billed() -> None:
    found = plan(report(billed(0, input=600)), [uncertain(), settled("s", input=600)], cards)
    assert closed(found) == {"h1": ZERO}


def test_tokens_are_compared_kind_by_kind_and_never_below_zero() -> None:
    """The books have more input than the report: that makes no output cheaper."""
    found = plan(report(billed(0, input=100, output=50)), [uncertain(), settled("s", input=600)], cards)
    assert closed(found) == {"h1": CARD.cost(Usage(output=50))}


def test_what_is_proved_of_an_answer_that_was_cut_counts_as_settled() -> None:
    """Its prompt was exact, its output was not."""
    cut = uncertain(proved=Usage(input=1_000))
    assert closed(plan(report(billed(0, input=1_000, output=20)), [cut], cards)) == {"h1": CARD.cost(Usage(output=20))}


def test_usage_may_be_told_minutes_after_an_answer_was_cut() -> None:
    """The provider writes on and reports later."""
    assert closed(plan(report(billed(9, output=20)), [uncertain()], cards)) == {"h1": CARD.cost(Usage(output=20))}


def test_several_holds_share_what_is_too_much_in_proportion() -> None:
    two = [uncertain("h1", held=10_000_000), uncertain("h2", held=30_000_000)]
    found = plan(report(billed(0, output=1_001)), two, cards)
    cost = CARD.cost(Usage(output=1_001))
    assert total(closed(found).values()) == cost == found.cost
    assert closed(found)["h2"].nano == pytest.approx(3 * closed(found)["h1"].nano, abs=3)


def test_holds_far_apart_are_judged_for_themselves() -> None:
    two = [uncertain("h1", at=-10), uncertain("h2", at=20)]
    found = plan(report(billed(-10, output=10), billed(20, output=99)), two, cards)
    assert closed(found) == {"h1": CARD.cost(Usage(output=10)), "h2": CARD.cost(Usage(output=99))}


def test_more_than_was_held_is_booked_where_the_report_says_so() -> None:
    """A bill is a bill."""
    found = plan(report(billed(0, output=10_000)), [uncertain(held=1_000)], cards)
    assert closed(found) == {"h1": CARD.cost(Usage(output=10_000))}


def test_what_was_said_by_word_before_is_taken_off_in_money() -> None:
    word = replace(uncertain("w"), uncertain=ZERO, by_word=Money(7_000_000))
    found = plan(report(billed(0, output=1_000)), [uncertain(), word], cards)
    assert closed(found) == {"h1": CARD.cost(Usage(output=1_000)) - Money(7_000_000)}


def test_fees_are_compared_too() -> None:
    line = replace(billed(0), usage=Usage(pieces={"web_search": 3}))
    one = settled("s")
    found = plan(report(line), [uncertain(), replace(one, proved=Usage(pieces={"web_search": 1}))], cards)
    assert closed(found) == {"h1": CARD.cost(Usage(pieces={"web_search": 2}))}


def test_the_dearest_that_the_report_leaves_open_is_taken() -> None:
    dear = Rates(input=6, cache_read=6, write_5m=6, write_1h=6, output=30_000_000)

    def tiered(model: str, at: datetime, modifiers: Modifiers) -> RateCard:
        del at
        factor = 2 if modifiers.geo == "us" else 1
        rates = replace(RATES, output=RATES.output * factor)
        return replace(CARD, model=model, rates=rates, tiers=(Tier(above=200_000, rates=dear),))

    line = billed(0, output=1_000)
    both = replace(line, modifiers=(STANDARD, Modifiers(geo="us")), most_prompt=200_000)
    assert closed(plan(report(replace(line, most_prompt=200_000)), [uncertain()], tiered)) == {"h1": Money(15_000_000)}
    assert closed(plan(report(line), [uncertain()], tiered)) == {"h1": Money(30_000_000)}
    assert closed(plan(report(both), [uncertain()], tiered)) == {"h1": Money(30_000_000)}


# --- left alone


def kept(found: Plan) -> list[str]:
    assert not found.closings
    return [each.why for each in found.kept]


def test_a_report_that_does_not_cover_the_hold_settles_nothing() -> None:
    (why,) = kept(plan(report(first=0), [uncertain()], cards))
    assert why.startswith("the report does not tell of all of 2026-11-22 11:59")


def test_a_gap_in_the_report_settles_nothing() -> None:
    whole = report()
    holed = replace(whole, spans=tuple(span for span in whole.spans if span[0] != minute(3)))
    assert kept(plan(holed, [uncertain()], cards))[0].startswith("the report does not tell of all")


def test_the_last_minutes_of_a_report_are_not_taken_at_its_word() -> None:
    (why,) = kept(plan(report(last=20), [uncertain()], cards))
    assert why == "the report ends too soon after it: ask for a later one"


def test_a_request_under_way_at_that_time_settles_nothing() -> None:
    going = replace(settled("s"), closed_at=None)
    (why,) = kept(plan(report(last=200), [uncertain(), going], cards))
    assert why == "another request of that time is still under way"


def test_usage_of_another_model_that_nobody_explains_settles_nothing() -> None:
    """The hold may have been answered by that one."""
    found = plan(report(billed(0, model="other", output=7)), [uncertain()], cards)
    assert kept(found) == ["the report has usage of other at that time that no request in the books explains"]
    assert [each.model for each in found.unexplained] == ["other"]


def test_usage_of_another_model_that_is_settled_hinders_nothing() -> None:
    lines = (billed(0, model="other", output=7), billed(0, output=5))
    found = plan(report(*lines), [uncertain(), settled("s", model="other", output=7)], cards)
    assert closed(found) == {"h1": CARD.cost(Usage(output=5))}
    assert not found.unexplained


def test_a_model_without_a_price_settles_nothing() -> None:
    found = plan(report(billed(0, model="unpriced", output=5)), [replace(uncertain(), model="unpriced")], cards)
    assert "unpriced" in kept(found)[0]


def test_usage_that_no_request_explains_is_told() -> None:
    """Somebody else uses the key, or the books have lost something."""
    found = plan(report(billed(40, output=7)), [], cards)
    assert [(each.model, each.starts_at, each.usage) for each in found.unexplained] == [
        ("m", minute(40), Usage(output=7))
    ]


def test_an_empty_report_covers_nothing() -> None:
    assert plan(Report(spans=(), lines=()), [uncertain()], cards).kept[0].hold == "h1"


# --- laws

TOKENS = st.integers(0, 5_000)
USAGES = st.builds(Usage, input=TOKENS, cache_read=TOKENS, write_5m=TOKENS, write_1h=TOKENS, output=TOKENS)
REQUESTS = st.lists(st.tuples(st.integers(0, 30), USAGES, st.booleans(), st.integers(0, 4)), max_size=12)


@given(REQUESTS)
def test_the_sum_is_exactly_what_the_uncertain_requests_were_billed(
    requests: Sequence[tuple[int, Usage, bool, int]],
) -> None:
    """Whatever happened in whatever order: no hold is negative, none is over what it held, their sum is the bill."""
    lines, books, true = [], [], Usage()
    for number, (at, usage, is_lost, late) in enumerate(requests):
        lines.append(Billed(starts_at=minute(at + late), ends_at=minute(at + late + 1), model="m", usage=usage))
        one = uncertain(f"h{number}", at=at, held=CARD.cost(usage).nano + 1_000)
        if is_lost:
            books.append(one)
            true = Usage(**{kind: getattr(true, kind) + getattr(usage, kind) for kind in KINDS})
        else:
            books.append(replace(one, uncertain=ZERO, proved=usage, closed_at=minute(at + late)))
    found = plan(report(*lines, first=-60, last=120), books, cards)
    assert not found.kept
    assert {closing.hold for closing in found.closings} == {one.hold for one in books if one.uncertain}
    assert all(ZERO <= closing.cost <= closing.was for closing in found.closings)
    assert 0 <= found.cost.nano - CARD.cost(true).nano <= len(books)  # each stretch is rounded up once


KINDS = ("input", "cache_read", "write_5m", "write_1h", "output")


@given(st.lists(st.tuples(st.integers(0, 30), USAGES), max_size=8), REQUESTS)
def test_whatever_the_report_says_every_hold_is_closed_or_kept_once(
    told: Sequence[tuple[int, Usage]], requests: Sequence[tuple[int, Usage, bool, int]]
) -> None:
    """A report that fits nothing in the books makes nobody's cost negative."""
    lines = [Billed(starts_at=minute(at), ends_at=minute(at + 1), model="m", usage=usage) for at, usage in told]
    books = [
        replace(uncertain(f"h{n}", at=at), proved=usage, uncertain=Money(10**7 if is_lost else 0))
        for n, (at, usage, is_lost, _) in enumerate(requests)
    ]
    found = plan(report(*lines), books, cards)
    names = [*(closing.hold for closing in found.closings), *(each.hold for each in found.kept)]
    assert sorted(names) == sorted(one.hold for one in books if one.uncertain)
    assert all(closing.cost >= ZERO for closing in found.closings)
    assert isinstance(found.kept, tuple)
    assert all(each.why for each in found.kept)


@given(st.integers(0, 10**15), st.lists(st.integers(1, 10**12), min_size=1, max_size=9))
def test_a_division_loses_nothing_and_gives_nobody_more_than_his_part_rounded_up(
    amount: int, weights: list[int]
) -> None:
    parts = divide(amount, weights)
    assert sum(parts) == amount
    assert all(0 <= part <= -(-amount * weight // sum(weights)) for part, weight in zip(parts, weights, strict=True))
    if amount <= sum(weights):
        assert all(part <= weight for part, weight in zip(parts, weights, strict=True))
