"""Differences by day and model, and the corrections that book them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money
from crewcap.core.reprice import Correction, Line, Repriced, corrections, lines, whole

LATE = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


def repriced(hold: str, before: int, after: int, *, model: str = "opus", old_card: str = "c1") -> Repriced:
    return Repriced(
        hold=HoldId(hold),
        at=LATE,
        model=model,
        before=Money(before),
        after=Money(after),
        old_card=old_card,
        card="c2",
    )


def test_requests_that_differ_are_added_up_by_day_and_model() -> None:
    """By the days of the zone that was asked for; what is the same is left out."""
    found = [repriced("a", 5, 7), repriced("b", 5, 4), repriced("c", 3, 3), repriced("d", 1, 9, model="haiku")]
    berlin = lines(found, zone=ZoneInfo("Europe/Berlin"))
    assert berlin == (
        Line(day="2026-11-23", model="haiku", requests=1, before=Money(1), after=Money(9)),
        Line(day="2026-11-23", model="opus", requests=2, before=Money(10), after=Money(11)),
    )
    assert (berlin[0].difference, whole(berlin).difference, whole(berlin).requests) == (Money(8), Money(9), 3)
    assert {each.day for each in lines(found, zone=UTC)} == {"2026-11-22"}
    assert whole(()) == Line(day="total", model="", requests=0, before=ZERO, after=ZERO)


def test_a_correction_says_whose_word_it_was_and_which_cards_were_compared() -> None:
    found = [repriced("a", 5, 7), repriced("b", 3, 3), repriced("c", 5, 0, old_card="")]
    assert corrections(found, word="ana: letter", table="b9") == [
        Correction(
            hold=HoldId("a"),
            before=Money(5),
            after=Money(7),
            card="c2",
            reason="ana: letter: card c1 -> c2, price table b9",
        ),
        Correction(
            hold=HoldId("c"),
            before=Money(5),
            after=ZERO,
            card="c2",
            reason="ana: letter: card unknown -> c2, price table b9",
        ),
    ]
