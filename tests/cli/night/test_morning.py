"""The morning line: one line, and honest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.cli.live.test_closing import RUN

from crewcap.cli.night.morning import Morning, morning_line, morning_of
from crewcap.core.money import Money
from crewcap.core.runs import Check, CheckResult, Run, RunState

SEVEN = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
NIGHT = timedelta(hours=12)


def ended(state: RunState, result: CheckResult = "not_run") -> Run:
    return replace(RUN, state=state, check_after=Check(result=result))


def line(seen: Morning, *, now: datetime = SEVEN, span: timedelta = NIGHT, zone: str = "UTC") -> str:
    return morning_line(seen, since=now - span, now=now, zone=ZoneInfo(zone))


def test_a_night_is_one_line() -> None:
    runs = [*[ended(RunState.DONE, "passed")] * 12, *[ended(RunState.DONE)] * 2, ended(RunState.FAILED, "failed")]
    seen = morning_of(runs, paused=1, cut_short=0, spent=Money.usd("31.20"))
    assert line(seen) == "LAST NIGHT 14 done (12 green, 2 not checked), 1 paused, 1 failed, $31.20"


def test_green_is_only_what_passed_our_own_check() -> None:
    """An agent that says that it is done, where no check is set, is not green."""
    seen = morning_of([ended(RunState.DONE)], paused=0, cut_short=0, spent=Money(0))
    assert line(seen).startswith("LAST NIGHT 1 done (0 green, 1 not checked), $0")


def test_what_was_stopped_and_what_was_cut_short_is_not_left_out() -> None:
    seen = morning_of([ended(RunState.STOPPED)], paused=0, cut_short=2, spent=Money.usd("1"))
    assert line(seen) == "LAST NIGHT 0 done, 1 stopped, 2 cut short, $1.00"


@pytest.mark.parametrize(
    ("now", "span", "zone", "heading"),
    [
        (SEVEN, NIGHT, "UTC", "LAST NIGHT"),
        (SEVEN, timedelta(hours=2), "UTC", "SINCE 2026-11-23 05:00 UTC"),  # this morning
        (SEVEN + NIGHT, NIGHT, "UTC", "SINCE 2026-11-23 07:00 UTC"),  # a day
        (SEVEN, timedelta(days=7), "UTC", "SINCE 2026-11-16 07:00 UTC"),
        (SEVEN, NIGHT, "Asia/Tokyo", "SINCE 2026-11-23 04:00 JST"),  # where it is four in the afternoon
    ],
)
def test_a_night_is_what_lies_before_a_morning(now: datetime, span: timedelta, zone: str, heading: str) -> None:
    assert line(Morning(), now=now, span=span, zone=zone).startswith(f"{heading} 0 done")
