"""What becomes of a schedule's due times: run, missed, put off, skipped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.runs import RunState
from crewcap.core.schedules import (
    GRACE,
    MOST_CAUGHT_UP,
    MOST_QUEUED,
    CatchUp,
    Due,
    OpenRun,
    Overlap,
    due,
    five_fields,
    in_the_way,
    starts_at,
)

NIGHT = datetime(2026, 11, 22, 2, tzinfo=UTC)
DAY = timedelta(days=1)
TICKS = [NIGHT + n * DAY for n in range(40)]
LATER = timedelta(hours=3)


def found(last: datetime | None, now: datetime, catch_up: CatchUp = "one") -> Due:
    return due(last, now, TICKS, schedule="audit", catch_up=catch_up)


def test_a_tick_that_is_on_time_is_run_whatever_the_policy() -> None:
    for catch_up in ("one", "none", "all"):
        assert found(TICKS[0], TICKS[1] + GRACE, catch_up) == Due(run=(TICKS[1],))


def test_before_its_time_nothing_is_due() -> None:
    assert found(TICKS[0], TICKS[1] - timedelta(seconds=1)) == Due()


def test_a_tick_is_settled_once() -> None:
    first = found(TICKS[0], TICKS[1])
    assert first.last == TICKS[1]
    assert found(first.last, TICKS[1]) == Due()


@pytest.mark.parametrize(
    ("catch_up", "run", "missed"),
    [("one", (TICKS[3],), tuple(TICKS[1:3])), ("none", (), tuple(TICKS[1:4])), ("all", tuple(TICKS[1:4]), ())],
)
def test_after_three_nights_of_silence_the_policy_says_what_is_caught_up_with(
    catch_up: CatchUp, run: tuple[datetime, ...], missed: tuple[datetime, ...]
) -> None:
    assert found(TICKS[0], TICKS[3] + LATER, catch_up) == Due(run=run, missed=missed)


def test_one_that_is_on_time_stands_for_those_that_were_missed() -> None:
    assert found(TICKS[0], TICKS[3]) == Due(run=(TICKS[3],), missed=tuple(TICKS[1:3]))
    assert found(TICKS[0], TICKS[3], "all") == Due(run=tuple(TICKS[1:4]))


MINUTES = [NIGHT + n * timedelta(minutes=1) for n in range(10)]


@pytest.mark.parametrize(("catch_up", "run"), [("one", MINUTES[4:5]), ("none", MINUTES[4:5]), ("all", MINUTES[1:5])])
def test_of_ticks_within_the_grace_the_newest_alone_is_on_time(catch_up: CatchUp, run: list[datetime]) -> None:
    """Four minutes of silence are not four runs, unless all were asked for."""
    settled = due(MINUTES[0], MINUTES[4] + timedelta(seconds=50), MINUTES, schedule="audit", catch_up=catch_up)
    assert settled == Due(run=tuple(run), missed=tuple(tick for tick in MINUTES[1:5] if tick not in run))


def test_two_that_are_found_at_once_are_both_on_time() -> None:
    """Jitter may bring two ticks together; whoever serves all the time loses neither."""
    jitter, now = timedelta(minutes=1), NIGHT
    ticks = [NIGHT + n * timedelta(minutes=1) for n in range(500)]
    starts = [starts_at("audit", tick, jitter) for tick in ticks]
    assert any(later - sooner < timedelta(seconds=5) for sooner, later in pairwise(starts))
    last, run = ticks[0], list[datetime]()
    while now < starts[-1]:
        now += timedelta(seconds=5)
        settled = due(last, now, ticks, schedule="audit", catch_up="none", jitter=jitter)
        run += settled.run
        last = settled.last or last
    assert run == ticks[1:]


def test_even_all_is_not_without_end() -> None:
    settled = found(TICKS[0], TICKS[-1] + LATER, "all")
    assert settled == Due(run=tuple(TICKS[-MOST_CAUGHT_UP:]), missed=tuple(TICKS[1:-MOST_CAUGHT_UP]))


def test_a_schedule_that_is_seen_for_the_first_time_owes_nothing() -> None:
    assert found(None, TICKS[3]) == Due()


def test_a_clock_that_was_set_back_runs_nothing_twice() -> None:
    assert found(TICKS[3], TICKS[2]) == Due()


@given(st.text(min_size=1, max_size=20), st.integers(0, 10**6), st.integers(1, 86_400))
def test_jitter_is_the_same_for_everybody_and_less_than_its_span(name: str, minute: int, span_s: int) -> None:
    tick, jitter = NIGHT + timedelta(minutes=minute), timedelta(seconds=span_s)
    begins = starts_at(name, tick, jitter)
    assert tick <= begins < tick + jitter
    assert begins == starts_at(name, tick.astimezone(), jitter)


def test_schedules_with_the_same_line_do_not_begin_at_the_same_instant() -> None:
    starts = {starts_at(f"audit-{n}", NIGHT, timedelta(hours=1)) for n in range(50)}
    assert len(starts) > 40
    assert starts_at("audit", NIGHT) == NIGHT


def test_a_tick_that_is_put_off_is_not_late_for_it() -> None:
    """On time is counted from when it was to begin."""
    jitter = timedelta(hours=1)
    begins = starts_at("audit", TICKS[1], jitter)
    ask = {"schedule": "audit", "jitter": jitter, "catch_up": "none"}
    assert due(TICKS[0], begins - timedelta(seconds=1), TICKS, **ask) == Due()  # type: ignore[arg-type]  # as said above
    assert due(TICKS[0], begins + GRACE, TICKS, **ask) == Due(run=(TICKS[1],))  # type: ignore[arg-type]


@given(
    st.lists(st.integers(0, 60 * 24 * 30), max_size=12),
    st.sampled_from(["one", "none", "all"]),
    st.integers(0, 3_600),
)
@settings(max_examples=80)
def test_however_often_somebody_looks_every_tick_is_settled_once_and_in_order(
    looks: list[int], catch_up: CatchUp, jitter_s: int
) -> None:
    last, run, missed = NIGHT, list[datetime](), list[datetime]()
    end = NIGHT + 31 * DAY + timedelta(hours=1)
    for now in [*(NIGHT + timedelta(minutes=minute) for minute in sorted(looks)), end]:
        settled = due(last, now, TICKS, schedule="audit", catch_up=catch_up, jitter=timedelta(seconds=jitter_s))
        run += settled.run
        missed += settled.missed
        last = settled.last or last
        assert all(starts_at("audit", tick, timedelta(seconds=jitter_s)) <= now for tick in settled.run)
    assert sorted(run + missed) == TICKS[1:32]
    assert run == sorted(set(run))


@pytest.mark.parametrize(
    ("overlap", "states", "reason"),
    [
        ("skip", [], ""),
        ("skip", ["running"], "audit.1 is running still"),
        ("skip", ["waiting"], "audit.1 is waiting still"),
        ("queue", ["running", "queued"], ""),
        ("queue", ["running"] * (MOST_QUEUED - 1) + ["waiting"] * 5, ""),
        ("queue", ["running"] + ["queued"] * (MOST_QUEUED - 1), "10 of its runs are queued or at work already"),
        ("allow", ["running"] * 20, ""),
    ],
)
def test_what_is_open_decides_about_the_next(overlap: Overlap, states: list[str], reason: str) -> None:
    runs = [OpenRun(name=f"audit.{n}", state=RunState(state)) for n, state in enumerate(states, start=1)]
    assert in_the_way(overlap, runs) == reason


def test_a_cron_line_with_a_name_has_five_fields_too() -> None:
    assert (five_fields("@daily"), five_fields("@Hourly"), five_fields("5 4 * * *")) == (
        "0 0 * * *",
        "0 * * * *",
        "5 4 * * *",
    )
