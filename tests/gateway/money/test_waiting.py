"""Who is next: per run first come first served; between runs the oldest, who may be passed eight times."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.budget import ALL, Scope
from crewcap.gateway.money.waiting import MOST_PASSES, Line, Waiter


def place(line: Line, run: str) -> Waiter:
    return line.ticket(run, frozenset({Scope(f"run:{run}"), ALL}))


def waiting(line: Line, run: str, *, short_of: Scope = ALL) -> Waiter:
    waiter = place(line, run)
    line.join(waiter, short_of=short_of)
    return waiter


def test_within_a_run_the_first_that_came_is_the_first_served() -> None:
    line = Line()
    first = waiting(line, "a")
    second = waiting(line, "a")
    assert line.may_try(first)
    assert not line.may_try(second)
    line.granted(first)
    assert line.may_try(second)


def test_a_request_that_came_first_and_joins_later_keeps_its_place() -> None:
    """The ticket is drawn on arrival: a count call in between costs nobody his turn."""
    line = Line()
    early = place(line, "a")
    late = waiting(line, "a")
    line.join(early, short_of=ALL)
    assert line.ready() == (early,)
    assert not line.may_try(late)


def test_a_younger_run_that_fits_may_pass_eight_times_and_no_more() -> None:
    line = Line()
    old = waiting(line, "a")
    for _ in range(MOST_PASSES):
        young = place(line, "b")
        assert line.may_try(young)
        line.granted(young)
    assert old.passes == MOST_PASSES
    assert not line.may_try(place(line, "b"))
    assert not line.may_try(place(line, "c"))
    line.granted(old)
    assert line.may_try(place(line, "b"))


def test_a_run_short_of_its_own_cap_slows_nobody_else() -> None:
    line = Line()
    own = waiting(line, "a", short_of=Scope("run:a"))
    for _ in range(3 * MOST_PASSES):
        line.granted(place(line, "b"))
    assert own.passes == 0
    assert line.may_try(place(line, "b"))


def test_who_leaves_holds_nobody_back() -> None:
    line = Line()
    first = waiting(line, "a")
    second = waiting(line, "a")
    line.leave(first)
    line.leave(first)
    assert line.may_try(second)
    assert len(line) == 1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_somebody_may_always_try_and_nobody_is_passed_more_often_than_allowed(steps: list[tuple[str, bool]]) -> None:
    """No dead-lock in the line itself: whoever waits, at least the oldest may try."""
    line = Line()
    for run, joins in steps:
        waiter = place(line, run)
        if joins:
            line.join(waiter, short_of=ALL)
        elif line.may_try(waiter):
            line.granted(waiter)
        assert bool(line.ready()) == bool(len(line))
        assert all(each.passes <= MOST_PASSES for each in line.waiting())
