"""`crewcap stop`: a run ends, its work is kept."""

from __future__ import annotations

import fcntl
import os
import subprocess

import pytest
from tests.cli.live_home import asking_program, command, furnish
from tests.cli.run_home import RunHome, cut_short, driven
from tests.gateway.conftest import says, script
from tests.serve.conftest import until

from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.prices import load
from crewcap.simulator.server import Simulator

NIGHTLY = """
[repos.shop]
url = "/shop"
[[schedules]]
name = "nightly"
cron = "0 2 * * *"
repo = "shop"
prompt = "tidy up"
"""


def stored(home: RunHome, name: str) -> Run:
    (run,) = home.runs.find(name)
    return run


def test_whoever_drives_it_is_asked(home: RunHome) -> None:
    """Its driver ends the agent, fetches the work and closes the run; nothing is written behind its back."""
    run = home.add(state=RunState.RUNNING, commits=2, branch="crewcap/fix-login-1", **driven())
    assert home.out("stop") == "fix-login.1  asked to stop; its work is kept on branch crewcap/fix-login-1\n"
    assert [word.kind for word in home.runs.unheard(run.id)] == ["stop"]
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


@pytest.mark.parametrize("state", [RunState.WAITING, RunState.QUEUED])
def test_a_hosted_run_that_rests_is_closed_though_its_worker_is_alive(home: RunHome, state: RunState) -> None:
    """The worker drives others by now: nobody would hear a word to this one."""
    run = home.add(state=state, hosted=True, worker="local", **driven())
    assert home.json("stop") == [{"run": "fix-login.1", "result": "stopped"}]
    ended = stored(home, "fix-login.1")
    assert ended.state == RunState.STOPPED
    assert home.runs.unheard(run.id) == []


def test_a_hosted_run_at_work_is_left_to_its_worker_wherever_that_is(home: RunHome) -> None:
    """On another machine, whose processes nobody here can see."""
    run = home.add(state=RunState.RUNNING, hosted=True, worker="elsewhere", **cut_short())
    assert home.json("stop") == [{"run": "fix-login.1", "result": "asked to stop"}]
    assert (stored(home, "fix-login.1"), [word.kind for word in home.runs.unheard(run.id)]) == (run, ["stop"])


def test_keys_of_a_run_that_nobody_drives_are_dead(home: RunHome) -> None:
    """Its driver was killed before it could end them; what is stopped spends no more."""
    run = home.add(state=RunState.RUNNING, **cut_short())
    other = home.add("other")
    home.hold(run, "0.10")
    home.hold(other, "0.10")
    home.out("stop", run.name)
    alive = {key.run for key in home.ledger.keys() if key.revoked_at is None}  # noqa: SIM118  (a ledger is no mapping)
    assert alive == {other.id}


def test_all_means_every_open_run_and_ends_with_a_sum(home: RunHome) -> None:
    home.add("done")
    home.add("waits", RunState.WAITING)
    home.add("busy", RunState.RUNNING, **driven())
    home.add("queued", RunState.QUEUED, hosted=True)
    status, out, err = home.call("stop", "--all")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "queued.1  stopped; its work is kept",
        "busy.1  asked to stop; its work is kept",
        "waits.1  stopped; its work is kept",
        "3 runs: 2 stopped, 1 asked to stop; none of them is granted another request",
    ]
    assert {run.name: run.state for run in home.runs.list()} == {
        **dict.fromkeys(("queued.1", "waits.1"), RunState.STOPPED),
        "busy.1": RunState.RUNNING,
        "done.1": RunState.DONE,
    }


def test_all_for_machines_is_one_list(home: RunHome) -> None:
    home.add("waits", RunState.WAITING)
    home.add("busy", RunState.RUNNING, **driven())
    assert home.json("stop", "--all") == [
        {"run": "busy.1", "result": "asked to stop"},
        {"run": "waits.1", "result": "stopped"},
    ]


def test_all_ends_the_keys_of_every_open_run_also_of_those_that_are_driven(home: RunHome) -> None:
    """Their drivers hear it when they look; the next request is refused before that."""
    busy = home.add("busy", RunState.RUNNING, **driven())
    done = home.add("done")
    for run in (busy, done):
        home.hold(run, "0.10")
    home.out("stop", "--all")
    alive = {key.run for key in home.ledger.keys() if key.revoked_at is None}  # noqa: SIM118  (a ledger is no mapping)
    assert alive == {done.id}


def test_a_worker_that_died_is_not_waited_for(home: RunHome) -> None:
    """Where nobody serves, a hosted run is closed here; with a serve alive its worker is told."""
    home.add("fix", RunState.RUNNING, hosted=True, worker="local", **cut_short())
    assert home.json("stop", "fix.1") == [{"run": "fix.1", "result": "stopped"}]
    home.add("other", RunState.RUNNING, hosted=True, worker="local", **cut_short())
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert home.json("stop", "other.1") == [{"run": "other.1", "result": "asked to stop"}]


def test_schedules_go_on_and_that_is_said(home: RunHome) -> None:
    home.config.write_text(NIGHTLY)
    home.add("waits", RunState.WAITING)
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, err = home.call("stop", "--all")
    assert status == 0
    assert err == "schedules go on (nightly); to end them too, end crewcap serve\n"


def test_after_all_was_said_no_request_of_a_live_run_is_granted(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that asks and asks again: what is in the books when the command returns is all there will ever be."""
    with Simulator.in_thread(script(says(pace_ms=5)), book=load()) as simulator:
        furnish(home, simulator.url, monkeypatch, agent=asking_program())
        words = ("run", "issues/fix-sum.md", "--cap", "20", "--max-turns", "10000", "--json")
        with subprocess.Popen(
            command(home, *words), env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                until(lambda: granted(home) >= 3, "its agent asks")
                assert home.call("stop", "--all")[0] == 0
                then = granted(home)
                process.communicate(timeout=60)
            finally:
                process.kill()
    run = stored(home, "fix-sum.1")
    assert (run.state, run.verdict, process.returncode) == (RunState.STOPPED, Verdict.CANCELLED, 130)
    assert granted(home) == then
    assert home.ledger.totals(Scope(f"run:{run.id}")).held == Money(0)


def granted(home: RunHome) -> int:
    """Requests that the gateway let through, by the books."""
    found = home.runs.find("") if home.home.ledger.exists() else []
    return home.ledger.totals(Scope(f"run:{found[0].id}")).requests if found else 0


def test_where_nothing_is_open_nothing_is_done(home: RunHome) -> None:
    assert home.call("stop", "--all") == (0, "", "nothing is open\n")
    assert home.json("stop", "--all") == []
    home.add()
    assert home.refused("stop") == (2, "fix-login.1 is at its end: done")
