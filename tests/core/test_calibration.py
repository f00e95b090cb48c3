"""Caps from what runs have cost, and what each would have done to them."""

from __future__ import annotations

from tests.core.past import job

from crewcap.core.calibration import cap_for, replay, suggest
from crewcap.core.money import Money


def test_below_ten_runs_it_is_a_pilots() -> None:
    found = suggest([job("0.10") for _ in range(9)])
    assert (found.is_pilot, found.cap, found.turns, found.jobs) == (True, Money.usd(5), 10, 9)


def test_runs_that_are_not_over_teach_nothing() -> None:
    assert suggest([job(1, is_over=False) for _ in range(40)]).is_pilot


def test_programs_on_keys_teach_nothing() -> None:
    keys = [job("0.01", is_run=False, is_good=False) for _ in range(40)]
    assert (suggest(keys).is_pilot, suggest(keys).jobs, suggest(keys).average) == (True, 0, None)
    runs = [job(1) for _ in range(10)]
    assert suggest([*keys, *runs]) == suggest(runs)


def test_runs_of_which_none_was_good_speak_for_no_cap() -> None:
    found = suggest([job(1, is_good=False, was_cut=True) for _ in range(10)])
    assert (found.is_pilot, found.cap, found.robust, found.good, found.censored) == (False, None, None, 0, 10)
    assert found.average == Money.usd(1)


def test_a_pilot_tells_the_average_of_what_was_seen_and_none_where_nothing_was() -> None:
    assert (suggest([]).average, suggest([]).p95) == (None, None)
    seen = suggest([job(1), job(3)])
    assert (seen.average, seen.p95, seen.jobs) == (Money.usd(2), Money.usd(3), 2)


def test_twice_the_average_stands_beside_what_cuts_fewer() -> None:
    past = [job(1) for _ in range(19)] + [job(9)]
    found = suggest(past)
    assert (found.average, found.p95) == (Money.usd("1.40"), Money.usd(1))
    assert found.usual is not None
    assert (found.usual.cap, found.usual.good_cut, found.usual.good) == (Money.usd("2.80"), 1, 20)
    assert found.usual.wasted == Money.usd("2.80")
    assert found.cap == Money.usd("2.80")


def test_a_wide_spread_asks_for_more_than_twice_the_average() -> None:
    past = [job(cost) for cost in (1, 1, 1, 1, 1, 1, 1, 10, 10, 10)]
    found = suggest(past)
    assert found.usual is not None
    assert (found.usual.cap, found.cap) == (Money.usd("7.40"), Money.usd(15))


def test_a_replay_counts_good_runs_as_waste_and_others_as_saved() -> None:
    past = [job(1), job(4), job(6, is_good=False)]
    done = replay(past, Money.usd(3))
    assert (done.good, done.good_cut, done.bad_cut) == (2, 1, 1)
    assert (done.wasted, done.saved) == (Money.usd(3), Money.usd(3))


def test_a_run_that_costs_the_cap_itself_is_not_cut() -> None:
    assert replay([job(3)], Money.usd(3)).good_cut == 0


def test_a_rate_of_cuts_gives_the_smallest_such_cap() -> None:
    past = [job(f"{n}.001") for n in range(1, 101)]
    for rate in (1, 2, 5):
        cap = cap_for(past, rate)
        assert replay(past, cap).good_cut == rate
        assert cap == Money.usd(f"{100 - rate}.01")


def test_rates_are_told_from_thirty_runs_on() -> None:
    assert suggest([job(1) for _ in range(29)]).by_rate == ()
    assert [rate for rate, _ in suggest([job(1) for _ in range(30)]).by_rate] == [1, 2, 5]
