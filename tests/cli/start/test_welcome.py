"""A bare `crewcap`."""

from __future__ import annotations

import re

from tests.cli.run_home import RunHome

from crewcap.core.runs import RunState


def test_a_home_without_runs_is_greeted_in_four_lines_that_end_in_the_demo(home: RunHome) -> None:
    lines = home.out().splitlines()
    assert len(lines) == 4
    assert lines[-1].strip() == "crewcap demo"
    assert not home.home.root.exists()


def test_machines_get_the_status_of_a_home_without_runs_as_well(home: RunHome) -> None:
    bare, status = home.json(), home.json("status")
    assert {**bare, "since": ""} == {**status, "since": ""}
    assert bare["live"] == []
    assert not home.home.root.exists()


def test_books_without_runs_are_no_runs(home: RunHome) -> None:
    """A budget was set, or a key made; nothing ran yet."""
    home.ledger.all_balances()
    assert home.out().splitlines()[-1].strip() == "crewcap demo"


def test_a_home_with_runs_shows_their_status(home: RunHome) -> None:
    home.add(state=RunState.WAITING, reason="paused at the cap")
    assert home.out() == home.out("status")
    morning, first, *_ = home.out().splitlines()
    assert re.fullmatch(r"(LAST NIGHT|SINCE \d{4}-\d\d-\d\d \d\d:\d\d UTC) 0 done, 1 paused, \$0\.00", morning)
    assert first == "NEEDS YOU 1"
    (one,) = home.json()["waiting"]
    assert (one["run"], one["reason"], one["needs_you"]) == ("fix-login.1", "paused at the cap", True)
