"""When a cron line is due, also in the nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.runner.worker.ticks import MOST, Cron

SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)  # Berlin goes from 02:00 to 03:00 on the 29th
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)  # and from 03:00 back to 02:00 on the 25th
DAY = timedelta(days=1)


def local(text: str, after: datetime, until: datetime, zone: str = "Europe/Berlin") -> list[str]:
    """Ticks by the zone's own clock, with its distance from UTC."""
    cron = Cron.parse(text, zone)
    return [f"{tick.astimezone(cron.zone):%d %H:%M%z}" for tick in cron.between(after, until)]


def test_ticks_go_by_the_zones_clock_and_are_told_in_utc() -> None:
    found = Cron.parse("0 2 * * *", "Europe/Berlin").next(datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert (found, found.tzinfo) == (datetime(2026, 11, 23, 1, tzinfo=UTC), UTC)


def test_an_end_belongs_to_its_span_and_a_beginning_does_not() -> None:
    cron, tick = Cron.parse("@daily", "UTC"), datetime(2026, 11, 22, tzinfo=UTC)
    assert cron.between(tick - DAY, tick) == [tick]
    assert cron.between(tick, tick) == cron.between(tick, tick - DAY) == []
    assert (cron.next(tick), cron.next(tick - timedelta(microseconds=1))) == (tick + DAY, tick)


def test_in_spring_a_time_that_is_left_out_comes_right_after_the_gap() -> None:
    """It is not lost, and comes once."""
    assert local("30 2 * * *", SPRING, SPRING + 2 * DAY) == ["29 03:00+0200", "30 02:30+0200"]
    assert local("0,30 2 * * *", SPRING, SPRING + DAY) == ["29 03:00+0200"]


def test_in_spring_what_comes_every_half_hour_has_nothing_in_the_gap() -> None:
    midnight = datetime(2026, 3, 29, 0, 29, tzinfo=UTC)
    assert local("*/30 * * * *", midnight, midnight + timedelta(hours=1)) == ["29 01:30+0100", "29 03:00+0200"]


def test_in_autumn_a_time_that_comes_twice_is_due_the_first_time() -> None:
    assert local("30 2 * * *", AUTUMN, AUTUMN + DAY) == ["25 02:30+0200"]


def test_in_autumn_what_comes_every_half_hour_comes_in_both_hours() -> None:
    two = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert local("*/30 * * * *", two, two + timedelta(hours=1, minutes=30)) == [
        "25 02:30+0200",
        "25 02:00+0100",
        "25 02:30+0100",
    ]


def test_who_looks_in_the_hour_that_comes_twice_finds_what_was_due_in_the_first() -> None:
    cron, tick = Cron.parse("30 2 * * *", "Europe/Berlin"), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for minutes in (0, 20, 45, 75, 120):
        assert cron.between(tick - DAY / 2, tick + timedelta(minutes=minutes)) == [tick]
        assert cron.next(tick + timedelta(minutes=minutes)) == tick + DAY + timedelta(hours=1)


def test_a_year_of_silence_is_as_many_ticks_as_anybody_can_use() -> None:
    until = datetime(2026, 11, 22, tzinfo=UTC)
    found = Cron.parse("* * * * *", "Europe/Berlin").between(until - 365 * DAY, until)
    assert (len(found), found[-1]) == (MOST, until)
    assert Cron.parse("@yearly", "Europe/Berlin").between(until - 365 * DAY, until) == [
        datetime(2025, 12, 31, 23, tzinfo=UTC)
    ]


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("0 25 * * *", "UTC", "the hour"),
        ("0 0 30 2 *", "UTC", "never fires"),
        ("@daily", "Europe/Berln", "not a time zone"),
    ],
)
def test_what_is_no_cron_line_or_no_zone_is_refused_as_in_the_settings(text: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cron.parse(text, zone)


@given(
    text=st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 */3 * * *", "15 1-3 * * 6,0", "@hourly", "0,59 2,3 * * *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "America/Santiago"]),
    near=st.sampled_from([SPRING, AUTUMN, datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 9, 5, tzinfo=UTC)]),
    cuts=st.lists(st.integers(0, 3 * 24 * 60), min_size=2, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_however_time_is_cut_every_tick_is_found_once(text: str, zone: str, near: datetime, cuts: list[int]) -> None:
    """Looks that follow one another find what one look finds, and what going on from tick to tick finds."""
    cron = Cron.parse(text, zone)
    edges = [near + timedelta(minutes=minute) for minute in sorted(cuts)]
    whole = cron.between(edges[0], edges[-1])
    assert [tick for a, b in pairwise(edges) for tick in cron.between(a, b)] == whole
    walked, at = [], edges[0]
    while (at := cron.next(at)) <= edges[-1]:
        walked.append(at)
    assert walked == whole
