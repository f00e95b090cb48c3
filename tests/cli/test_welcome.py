"""A bare `crewcap`."""

from __future__ import annotations

from tests.cli.run_home import RunHome

from crewcap.core.runs import RunState


def test_a_home_without_runs_is_greeted_in_four_lines_that_end_in_the_demo(home: RunHome) -> None:
    lines = home.out().splitlines()
    assert len(lines) == 4
    assert lines[-1].strip() == "crewcap demo"
    assert not home.home.root.exists()


def test_books_without_runs_are_no_runs(home: RunHome) -> None:
    """A budget was set, or a key made; nothing ran yet."""
    home.ledger.all_balances()
    assert home.out().splitlines()[-1].strip() == "crewcap demo"


def test_a_home_with_runs_shows_their_status(home: RunHome) -> None:
    home.add(state=RunState.WAITING, reason="paused at the cap")
    assert home.out() == home.out("status")
    assert home.out().splitlines()[0] == "NEEDS YOU 1"
    assert home.json()["waiting"] == [{"run": "fix-login.1", "reason": "paused at the cap"}]
