"""What a board shows, read from real books."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now

from crewcap.cli.context import Call, make_call
from crewcap.cli.live.board import board_lines
from crewcap.cli.live.board_reader import BoardReader
from crewcap.cli.screen.figures import Screen, columns_of
from crewcap.core.budget import ALL, Scope
from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict
from crewcap.stores import Limit


@pytest.fixture
def call(home: RunHome) -> Iterator[Call]:
    made = make_call({"home": str(home.home.root), "config": str(home.config)})
    yield made
    made.close()


def reader(call: Call, **said: int) -> BoardReader:
    return BoardReader(call=call, monotonic=time.monotonic, **said)  # type: ignore[arg-type]  # a limit, in tests


def test_a_home_that_is_new_is_an_empty_board_and_stays_as_it_is(home: RunHome, call: Call) -> None:
    assert reader(call).read().rows == ()
    assert not home.home.root.exists()


def test_the_board_says_what_each_run_costs_and_does(home: RunHome, call: Call) -> None:
    run = home.add("fix-login", RunState.RUNNING, **driven())
    home.spend(run, "0.16")
    home.hold(run, "0.11")
    home.runs.log(run.id, "agent", "run pytest\x1b[31m")
    home.runs.log(run.id, "state", "running")
    (row,) = reader(call).read().rows
    assert (row.cost, row.totals.held, row.totals.requests) == (Money.usd("0.16"), Money.usd("0.11"), 2)
    assert row.last == "run pytest [31m"
    assert row.per_minute
    assert not row.is_cut_short


def test_what_another_process_does_is_on_the_next_board(home: RunHome, call: Call) -> None:
    reads = reader(call)
    run = home.add("fix-login", RunState.RUNNING, **driven())
    assert reads.read().rows[0].cost == Money(0)
    home.spend(run, "0.16")
    home.runs.log(run.id, "agent", "edit a.py")
    row = reads.read().rows[0]
    assert (row.cost, row.last) == (Money.usd("0.16"), "edit a.py")
    home.runs.save(replace(run, state=RunState.FINISHING))
    home.runs.save(replace(run, state=RunState.DONE, verdict=Verdict.FINISHED, ended_at=utc_now()))
    board = reads.read()
    assert [one.run.state for one in board.ended] == [RunState.DONE]
    assert not board.live


def test_books_that_nobody_wrote_to_are_not_read_again(home: RunHome, call: Call) -> None:
    home.add("fix-login", RunState.RUNNING, **driven())
    reads = reader(call)
    reads.read()
    sums = call.app.ledger.all_balances
    asked = 0

    def counted() -> object:
        nonlocal asked
        asked += 1
        return sums()

    call.app.ledger.all_balances = counted  # type: ignore[method-assign,assignment]  # counts, and asks the real one
    reads.read()
    reads.read()
    assert asked == 0
    home.add("other")
    reads.read()
    assert asked == 1


def test_those_that_need_somebody_come_first_and_what_is_over_last(home: RunHome, call: Call) -> None:
    home.add("queued", RunState.QUEUED, reason="queued: repo shop has 2 of 2 slots", **driven())
    home.add("works", RunState.RUNNING, **driven())
    home.add("waits", RunState.WAITING, reason="the cap is used up")
    home.add("dead", RunState.RUNNING, **cut_short())
    home.add("done", RunState.DONE)
    home.add("old", RunState.DONE, ended_at=utc_now() - timedelta(hours=13))
    rows = reader(call).read().rows
    assert [row.run.name for row in rows] == ["waits.1", "dead.1", "works.1", "queued.1", "done.1"]
    assert [row.last for row in rows[:2]] == [
        "the cap is used up; crewcap resume waits.1",
        "cut short while running; crewcap show dead.1",
    ]
    assert rows[3].last == "queued: repo shop has 2 of 2 slots"


@pytest.fixture
def night(home: RunHome) -> RunHome:
    """One at work, two in the queue, one at its cap, one that waits for its provider; all of a worker's."""
    hosted = {"hosted": True, "worker": "local"}
    home.add("works", RunState.RUNNING, **hosted, **driven())
    for position, key in ((2, "second"), (1, "first")):
        home.add(key, RunState.QUEUED, hosted=True, queued_for="repo shop has 1 of 1 slots", position=position)
    verdict = Verdict.BUDGET_EXHAUSTED
    home.add("broke", RunState.WAITING, reason="paused at the cap", verdict=verdict, waits_for="answer", **hosted)
    home.add("frozen", RunState.WAITING, reason="no credit", waits_for="provider", **hosted)
    home.add("dead", RunState.RUNNING, **hosted, **cut_short())
    return home


@contextmanager
def serving(home: RunHome) -> Iterator[None]:
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_while_somebody_serves_only_what_asks_a_person_needs_somebody(night: RunHome, call: Call) -> None:
    """Queued runs stand in their order; what goes on by itself, or is taken up by the next worker, says so."""
    with serving(night):
        board = reader(call).read()
    assert [(row.run.name, row.needs_somebody, row.last) for row in board.rows] == [
        ("broke.1", True, "paused at the cap; crewcap resume broke.1 --add 2"),
        ("works.1", False, ""),
        ("dead.1", False, "its worker was ended; serve starts another one"),
        ("first.1", False, "repo shop has 1 of 1 slots; place 1 in the queue"),
        ("second.1", False, "repo shop has 1 of 1 slots; place 2 in the queue"),
        ("frozen.1", False, "no credit; it goes on by itself"),
    ]
    assert [row.run.name for row in reader(call).read().waiting] == ["broke.1", "frozen.1", "dead.1"]


@pytest.mark.parametrize("columns", [20, 80])
def test_every_open_run_is_on_the_screen_and_the_worst_case_is_its_last_line(
    night: RunHome, call: Call, columns: int
) -> None:
    with serving(night):
        board = reader(call).read()
    lines = board_lines(board, Screen(columns=columns), None)
    assert max(map(columns_of, lines)) <= columns
    shown = " ".join(line.strip() for line in lines)
    for name in ("broke", "works", "dead", "first", "second", "frozen"):
        assert f"{name}.1" in shown
    assert shown.count("queued") == 3  # two runs, and their sum
    assert "2 live, 2 queued, 1 needs you, 1 waits, 0 ended" in shown
    assert board.worst_case == Money.usd("15")
    last = "worst case if all goes wrong: $15.00" if columns == 80 else "worst case $15.00"
    assert last in lines[-1]


def test_ended_runs_can_be_fewer_or_left_out(home: RunHome, call: Call) -> None:
    for key in ("a", "b", "c"):
        home.add(key)
    assert [row.run.name for row in reader(call, limit=2).read().rows] == ["c.1", "b.1"]
    assert reader(call, open_only=True).read().rows == ()


def test_the_worst_case_is_what_open_runs_have_left_within_what_all_have_left(home: RunHome, call: Call) -> None:
    home.spend(home.add("a", RunState.RUNNING, **driven()), "1")
    home.add("b", RunState.PREPARING, **driven())
    home.add("waits", RunState.WAITING)
    reads = reader(call)
    assert reads.read().worst_case == Money.usd("5")
    home.ledger.set_limit(Limit(scope=ALL, window="total", amount=Money.usd("4"), source="command"))
    assert reads.read().worst_case == Money.usd("3")
    home.ledger.set_limit(Limit(scope=Scope("repo:shop"), window="total", amount=Money.usd("2.50"), source="command"))
    assert reads.read().worst_case == Money.usd("1.50")


def test_a_budget_of_a_team_bounds_the_runs_whose_keys_are_in_it(home: RunHome, call: Call) -> None:
    run = home.add("a", RunState.RUNNING, **driven())
    home.spend(run, "1")
    home.ledger.set_limit(Limit(scope=Scope("team:core"), window="total", amount=Money.usd("1"), source="command"))
    assert reader(call).read().worst_case == Money.usd("2")


def test_the_header_has_the_day_and_the_month_of_everything(home: RunHome, call: Call) -> None:
    home.ledger.set_limit(Limit(scope=ALL, window="month", amount=Money.usd("900"), source="command"))
    home.ledger.set_limit(Limit(scope=Scope("repo:shop"), window="day", amount=Money.usd("9"), source="command"))
    assert [(one.window, one.limit) for one in reader(call).read().budgets] == [
        ("day", Money.usd("25")),
        ("month", Money.usd("900")),
    ]
