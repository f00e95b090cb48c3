"""The clock is trusted as far as the monotonic clock and the newest entry bear it out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.clocks import START, Clocks

from crewcap.stores.clock import ClockWatch, instant, micros


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def watch(clocks: Clocks) -> ClockWatch:
    return ClockWatch(clocks.clock, clocks.monotonic)


def test_instants_survive_the_books_to_the_microsecond() -> None:
    at = START + timedelta(days=400, microseconds=7)
    assert instant(micros(at)) == at


def test_time_that_passes_is_followed(watch: ClockWatch, clocks: Clocks) -> None:
    assert watch.look(recorded=None, accepts=0).at == START
    clocks.pass_time(timedelta(days=40))
    reading = watch.look(recorded=None, accepts=0)
    assert (reading.at, reading.doubt) == (START + timedelta(days=40), "")


def test_small_corrections_are_followed_however_many(watch: ClockWatch, clocks: Clocks) -> None:
    for _ in range(10):
        clocks.jump(timedelta(minutes=-9))
        reading = watch.look(recorded=None, accepts=0)
        assert (reading.at, reading.doubt) == (clocks.wall, "")


@pytest.mark.parametrize("jump", [timedelta(minutes=11), timedelta(minutes=-11), timedelta(days=31)])
def test_after_a_jump_time_goes_on_from_where_it_was_trusted(
    watch: ClockWatch, clocks: Clocks, jump: timedelta
) -> None:
    watch.look(recorded=None, accepts=0)
    clocks.pass_time(timedelta(minutes=1))
    clocks.jump(jump)
    for minutes in (1, 2, 3):
        reading = watch.look(recorded=None, accepts=0)
        assert reading.at == START + timedelta(minutes=minutes)
        assert "the clock jumped: it should show 2026-11-22 10:01 UTC" in reading.doubt
        clocks.pass_time(timedelta(minutes=1))


def test_a_word_makes_the_wall_clock_right(watch: ClockWatch, clocks: Clocks) -> None:
    """By this process, or by another one: the number of words rises for all."""
    watch.look(recorded=None, accepts=0)
    clocks.jump(timedelta(hours=5))
    assert watch.look(recorded=None, accepts=0).doubt
    reading = watch.look(recorded=None, accepts=1)
    assert (reading.at, reading.doubt) == (clocks.wall, "")
    clocks.jump(timedelta(hours=-5))
    assert watch.look(recorded=None, accepts=1).doubt
    watch.accept(2)
    assert not watch.look(recorded=None, accepts=2).doubt
    assert not watch.look(recorded=None, accepts=1).doubt  # an older view of the books is no news


@pytest.mark.parametrize(
    ("away", "trusted"),
    [
        (timedelta(hours=36), True),
        (timedelta(hours=-36), True),
        (timedelta(hours=36, seconds=1), False),
        (timedelta(hours=-36, seconds=-1), False),
    ],
)
def test_a_first_look_is_compared_with_the_newest_instant_on_record(
    watch: ClockWatch, away: timedelta, *, trusted: bool
) -> None:
    recorded = START - away
    reading = watch.look(recorded=recorded, accepts=0)
    assert (not reading.doubt) is trusted
    assert reading.at == (START if trusted else recorded)


def test_a_doubt_of_others_is_taken_over_at_the_first_look(watch: ClockWatch, clocks: Clocks) -> None:
    recorded = START - timedelta(hours=1)
    assert watch.look(recorded=recorded, accepts=0, doubted="it jumped").at == recorded
    clocks.pass_time(timedelta(minutes=1))
    assert watch.look(recorded=recorded, accepts=0, doubted="it jumped").at == recorded + timedelta(minutes=1)
    assert watch.look(recorded=recorded, accepts=1).at == clocks.wall


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-(10**7), 10**7)), max_size=20))
def test_trusted_time_never_strays_from_true_time_by_more_than_the_corrections_that_it_followed(
    moves: list[tuple[int, int]],
) -> None:
    """Whatever the wall clock does, no single jump of more than ten minutes moves trusted time."""
    clocks = Clocks()
    watch = ClockWatch(clocks.clock, clocks.monotonic)
    watch.look(recorded=None, accepts=0)
    true, followed, doubted = START, timedelta(0), False
    for passed, jumped in moves:
        clocks.pass_time(timedelta(seconds=passed))
        clocks.jump(timedelta(seconds=jumped))
        true += timedelta(seconds=passed)
        reading = watch.look(recorded=None, accepts=0)
        doubted = doubted or abs(jumped) > 600
        if not doubted:
            followed += timedelta(seconds=jumped)
        assert bool(reading.doubt) is doubted
        assert abs(reading.at - true - followed) < timedelta(milliseconds=1)
