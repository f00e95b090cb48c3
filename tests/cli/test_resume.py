"""`crewcap resume`: what is refused before anything is started; the whole way stands in test_run."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome, cut_short, driven

from crewcap.core.runs import RunState, Verdict


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.STOPPED, RunState.QUEUED])
def test_only_a_run_that_waits_goes_on(home: RunHome, state: RunState) -> None:
    home.add(state=state)
    assert home.refused("resume") == (2, f"fix-login.1 does not wait: it is {state}")


def test_a_run_that_somebody_drives_is_left_to_them(home: RunHome) -> None:
    home.add(state=RunState.RUNNING, **driven())
    assert home.refused("resume", "--add", "2") == (2, "fix-login.1 does not wait: it is running")


def test_at_its_cap_a_run_needs_more_money(home: RunHome) -> None:
    run = home.add(state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED)
    home.spend(run, "1.40")
    home.spend(run, "1.45")
    status, _, err = home.call("resume")
    assert status == 3
    assert err.splitlines() == [
        "error: fix-login.1 used $2.85 of $3.00 and its next request does not fit",
        "help: crewcap resume fix-login.1 --add 2",
    ]
    assert home.runs.find("fix-login.1")[0] == run


def test_a_little_more_than_nothing_is_still_nothing(home: RunHome) -> None:
    run = home.add(state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED)
    for _ in range(3):
        home.spend(run, "1.10")
    assert home.refused("resume", "--add", "0.20") == (3, "fix-login.1 would have nothing to spend")


@pytest.mark.parametrize(("amount", "says"), [("0", "a cap of 0"), ("-1", "-1"), ("5,00", "'5,00'"), ("nan", "'nan'")])
def test_more_money_is_an_amount(home: RunHome, amount: str, says: str) -> None:
    home.add(state=RunState.WAITING)
    status, said = home.refused("resume", "--add", amount)
    assert status == 2
    assert says in said


def test_a_run_that_was_cut_short_is_not_refused_for_its_state(home: RunHome) -> None:
    """Only for its money; the whole way stands in tests/e2e/test_kills."""
    run = home.add(state=RunState.RUNNING, **cut_short())
    for _ in range(3):
        home.spend(run, "1.10")
    assert home.refused("resume") == (3, "fix-login.1 would have nothing to spend")
    assert home.json("show")["resume"] == "crewcap resume fix-login.1"
