"""Money a minute, of late."""

from __future__ import annotations

from crewcap.cli.live.pace import Pace
from crewcap.core.money import Money


def test_the_pace_is_that_of_the_last_minutes() -> None:
    """A run that was fast an hour ago and stands still is not fast."""
    pace = Pace.since(0.0)
    assert pace.note(60.0, Money.usd("1")) == Money.usd("1")
    for minute in range(2, 30):
        pace.note(minute * 60.0, Money.usd("10"))
    assert pace.note(1_800.0, Money.usd("10")) == Money(0)
    assert pace.note(1_860.0, Money.usd("11")) == Money.usd("0.20")
    assert len(pace.samples) < 10


def test_what_was_spent_before_it_began_is_no_pace() -> None:
    """A run that is resumed has spent already."""
    assert Pace.since(10.0, Money.usd("2")).note(70.0, Money.usd("2.30")) == Money.usd("0.30")
