"""Hours go by the wall clock, also on the two days of a year on which it jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crewcap.core.hours import Hours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Hours.parse("20:00-07:00")
MINUTE = timedelta(minutes=1)
ZONES = ["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia"]  # the last skipped a day


@given(st.integers(0, 1439), st.integers(0, 1439))
def test_hours_that_are_shown_can_be_read_back(begins: int, ends: int) -> None:
    text = f"{begins // 60:02d}:{begins % 60:02d}-{ends // 60:02d}:{ends % 60:02d}"
    if begins == ends:
        with pytest.raises(ValueError, match="same minute"):
            Hours.parse(text)
    else:
        assert str(Hours.parse(text)) == text


@pytest.mark.parametrize("text", ["", "20-7", "20:00", "20:00-24:00", "20:60-07:00", "20:00-07:00\n", "٢٠:00-07:00"])
def test_what_is_no_span_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="span of the day"):
        Hours.parse(text)


@pytest.mark.parametrize(
    ("hours", "clock", "is_so"),
    [("22:00-07:00", 23, True), ("22:00-07:00", 6, True), ("22:00-07:00", 7, False), ("22:00-07:00", 22, True),
     ("09:00-17:00", 12, True), ("09:00-17:00", 17, False), ("20:00-00:00", 23, True), ("20:00-00:00", 0, False)],
)  # fmt: skip
def test_hours_may_run_over_midnight_and_their_end_is_not_part_of_them(hours: str, clock: int, *, is_so: bool) -> None:
    assert Hours.parse(hours).is_open(datetime(2026, 11, 22, clock, tzinfo=BERLIN), BERLIN) is is_so


def test_they_go_by_the_zone_that_is_meant() -> None:
    """19:30 in UTC is 20:30 in Berlin."""
    at = datetime(2026, 11, 22, 19, 30, tzinfo=UTC)
    assert (NIGHT.is_open(at, BERLIN), NIGHT.is_open(at, UTC)) == (True, False)
    assert NIGHT.opens_at(at, BERLIN) == at
    assert NIGHT.opens_at(at, UTC) == at.replace(hour=20, minute=0)


def test_the_same_wall_clock_is_another_instant_in_summer() -> None:
    for month, hour in ((1, 19), (7, 18)):
        at = datetime(2026, month, 15, 12, tzinfo=UTC)
        assert NIGHT.opens_at(at, BERLIN) == at.replace(hour=hour)


def test_hours_that_begin_in_the_hour_that_is_left_out_open_when_the_clock_has_passed_it() -> None:
    """In Berlin, 2026-03-29, 02:00 is followed by 03:00."""
    at = datetime(2026, 3, 29, 0, tzinfo=UTC)
    assert Hours.parse("02:30-05:00").opens_at(at, BERLIN) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert Hours.parse("02:15-02:45").opens_at(at, BERLIN) == datetime(2026, 3, 30, 0, 15, tzinfo=UTC)


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    """In Berlin, 2026-10-25, 02:00 to 03:00 comes in summer time and again in winter time."""
    hours = Hours.parse("01:00-02:30")
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 02:45, the first time
    assert not hours.is_open(between, BERLIN)
    assert hours.opens_at(between, BERLIN) == datetime(2026, 10, 25, 1, tzinfo=UTC)


@given(
    zone=st.sampled_from(ZONES),
    begins=st.integers(0, 1439),
    length=st.integers(1, 1439),
    minute=st.integers(0, 4 * 1440),
    near=st.sampled_from(["2026-03-28", "2026-04-04", "2026-09-05", "2026-10-24", "2026-10-03", "2011-12-29"]),
)
@example(zone="Australia/Lord_Howe", begins=90, length=30, minute=1440 + 15 * 60 + 10, near="2026-04-04")
@settings(max_examples=60, deadline=None)
def test_it_opens_at_the_first_minute_at_which_it_is_open(
    zone: str, begins: int, length: int, minute: int, near: str
) -> None:
    """Every minute before is closed; nothing is skipped where clocks change."""
    ends = (begins + length) % 1440
    hours = Hours.parse(f"{begins // 60:02d}:{begins % 60:02d}-{ends // 60:02d}:{ends % 60:02d}")
    where = ZoneInfo(zone)
    at = datetime.fromisoformat(near).replace(tzinfo=UTC) + minute * MINUTE
    found, walk = hours.opens_at(at, where), at
    while not hours.is_open(walk, where):
        walk += MINUTE
    assert found == walk
