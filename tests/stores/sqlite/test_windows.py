"""The calendar of balances; how they follow it stands in the ledger's contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.stores.books import Shelf, add_key, usd

from crewcap.core.budget import ALL, WINDOWS
from crewcap.errors import SettingsError
from crewcap.stores import Limit
from crewcap.stores.calendar import Calendar, find_zone
from crewcap.stores.clock import instant, micros

AT = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "x" * 300, "Europe/Berlin\0"])
def test_what_is_no_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match="is not a time zone"):
        find_zone(name)


def test_every_window_holds_the_instant_that_it_was_asked_for() -> None:
    spans = Calendar().spans("Europe/Berlin", micros(AT))
    assert set(spans) == set(WINDOWS)
    for span in spans.values():
        assert span.starts_at <= micros(AT) < span.ends_at
    assert spans["day"].label == "2026-03-29@Europe/Berlin"
    assert instant(spans["day"].ends_at) - instant(spans["day"].starts_at) == timedelta(hours=23)  # clocks change


def test_a_calendar_that_remembers_says_the_same_as_a_new_one() -> None:
    """Around midnights of two zones, back and forth."""
    calendar = Calendar()
    for hours in (0, 9, 10, 11, 12, 13, 40, 12, 0):
        for zone in ("UTC", "Europe/Berlin", "Pacific/Auckland"):
            at = micros(AT + timedelta(hours=hours))
            assert calendar.spans(zone, at) == Calendar().spans(zone, at)


def test_looking_makes_no_rows_and_a_reservation_does(shelf: Shelf) -> None:
    """Nothing is ever reset, and no job runs at midnight."""
    ledger = shelf.open()
    ledger.set_limit(Limit(scope=ALL, window="day", amount=usd(5), source="command"))
    add_key(ledger, "k1", cap=None, at=shelf.clocks.wall)
    assert [one.left for one in ledger.all_balances()] == [usd(5)]
    assert shelf.sql("SELECT count(*) FROM budget") == [(0,)]
    shelf.clocks.pass_time(timedelta(days=1))
    (tomorrow,) = ledger.all_balances()
    assert tomorrow.left == usd(5)
    assert tomorrow.resets_at is not None
    assert tomorrow.resets_at > shelf.clocks.wall
    ledger.close()
