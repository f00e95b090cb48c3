"""`crewcap stop`: a run ends, its work is kept."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome, cut_short, driven

from crewcap.core.runs import Run, RunState, Verdict
from crewcap.runner.ownership import is_stop_requested


def stored(home: RunHome, name: str) -> Run:
    (run,) = home.runs.find(name)
    return run


def test_whoever_drives_it_is_asked(home: RunHome) -> None:
    """Its driver ends the agent, fetches the work and closes the run; nothing is written behind its back."""
    run = home.add(state=RunState.RUNNING, commits=2, branch="crewcap/fix-login-1", **driven())
    assert home.out("stop") == "fix-login.1  asked to stop; its work is kept on branch crewcap/fix-login-1\n"
    assert is_stop_requested(home.home.run(run.id))
    assert stored(home, "fix-login.1") == run


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.PREPARING, RunState.RUNNING, RunState.FINISHING])
def test_a_run_that_nobody_drives_is_closed_from_every_state(home: RunHome, state: RunState) -> None:
    home.add(state=state, **cut_short())
    assert home.json("stop", "fix-login.1") == [{"run": "fix-login.1", "result": "stopped"}]
    run = stored(home, "fix-login.1")
    assert (run.state, run.verdict, run.reason) == (RunState.STOPPED, Verdict.CANCELLED, "stopped by hand")
    assert run.ended_at is not None
    assert [event.text for event in home.runs.story(run.id)] == ["stopped by hand"]


def test_a_run_that_waits_is_closed_and_keeps_why_it_waited(home: RunHome) -> None:
    home.add(state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED, reason="paused at the cap")
    assert home.out("stop") == "fix-login.1  stopped; its work is kept\n"
    run = stored(home, "fix-login.1")
    assert (run.state, run.verdict, run.reason) == (RunState.STOPPED, Verdict.BUDGET_EXHAUSTED, "paused at the cap")


def test_keys_of_a_run_that_nobody_drives_are_dead(home: RunHome) -> None:
    """Its driver was killed before it could end them; what is stopped spends no more."""
    run = home.add(state=RunState.RUNNING, **cut_short())
    other = home.add("other")
    home.hold(run, "0.10")
    home.hold(other, "0.10")
    home.out("stop", run.name)
    alive = {key.run for key in home.ledger.keys() if key.revoked_at is None}  # noqa: SIM118  (a ledger is no mapping)
    assert alive == {other.id}


def test_all_means_every_open_run(home: RunHome) -> None:
    home.add("done")
    home.add("waits", RunState.WAITING)
    home.add("busy", RunState.RUNNING, **driven())
    assert home.json("stop", "--all") == [
        {"run": "busy.1", "result": "asked to stop"},
        {"run": "waits.1", "result": "stopped"},
    ]


def test_where_nothing_is_open_nothing_is_done(home: RunHome) -> None:
    assert home.call("stop", "--all") == (0, "", "nothing is open\n")
    assert home.json("stop", "--all") == []
    home.add()
    assert home.refused("stop") == (2, "fix-login.1 is at its end: done")
