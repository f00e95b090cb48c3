"""Several workers on one PostgreSQL, each with a state directory and a gateway of its own: no run is started twice.

The long form is `python -m torture --only workers`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runner.worker.fleet import QUICK, Fleet, Machine, Relay, a_fleet
from tests.runner.worker.place_watch import watching
from tests.stores.postgres_server import shared

from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState
from crewcap.prices import load

LIMITS = {"all": 5, "repo:shop": 2}
LONG = "seconds=120 asking"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    for above in (folder, *folder.parents):
        if above.owner() == folder.owner() and above.name.startswith(("fleet", "pytest", "popen")):
            above.chmod(0o755)
    with a_fleet(folder, shared(), load(), settings="[slots]\nall = 5\nrepo = 2\n") as made:
        yield made


@pytest.fixture(autouse=True)
def _cleared(fleet: Fleet) -> Iterator[None]:
    """No test leaves a run to the next one."""
    yield
    if fleet.still_open():
        fleet.ready("b")  # somebody has to hear it
        fleet.crewcap(fleet.desk, "stop", "--all")
        fleet.until(lambda: not fleet.still_open(), "everything is stopped")


def working(fleet: Fleet, run: Run) -> Machine:
    """Wait until its agent has asked for something; the machine on which it works."""
    fleet.until(lambda: [it for it in fleet.lines("asked") if it["session"] == run.session], f"{run.name} works")
    place = fleet.run(run).worker.split(".")[1]
    return next(it for it in fleet.machines if (it.home.root / "home.id").read_text().startswith(place))


def test_three_workers_start_each_run_once_and_never_take_a_place_too_many(fleet: Fleet) -> None:
    """One worker is killed in the middle; the one that follows it goes on with its runs, in their own sessions."""
    with watching(fleet.url, LIMITS) as seen:
        machines = fleet.ready("a", "b", "c")
        runs = [fleet.add(f"many-{n}", "seconds=0.4", repo=("shop", "till", "yard")[n % 3]) for n in range(10)]
        fleet.until(lambda: any(run.state == RunState.DONE for run in fleet.runs()), "the first one is done")
        victim = machines[0].worker()
        os.kill(victim, signal.SIGKILL)
        fleet.until(lambda: not fleet.still_open(), "all are done")
        fleet.until(lambda: not seen.now, "all places are given back")
    assert seen.wrong == []
    assert seen.most["all"] == 5
    ended = [fleet.run(run) for run in runs]
    assert Counter(run.state for run in ended) == {RunState.DONE: 10}
    assert len({run.branch for run in ended}) == 10
    sessions = Counter(line["session"] for line in fleet.lines("start"))
    assert {run.name for run in ended if sessions[run.session] > 1} <= {run.name for run in ended if run.attempt > 1}
    assert fleet.overlaps(*runs) == []
    assert fleet.app.ledger.verify().problems == ()


def test_the_runs_of_a_machine_that_is_lost_are_prepared_anew_on_another_one(fleet: Fleet) -> None:
    fleet.ready("a", "b", "c")
    run = fleet.add("lost", LONG)
    machine = working(fleet, run)
    fleet.until(lambda: fleet.spent(run), "something was spent")
    machine.kill()
    before = fleet.run(run)
    spent = fleet.spent(run)
    fleet.until(lambda: len(fleet.starts(run)) == 2, "it goes on elsewhere")
    now = fleet.run(run)
    assert (now.attempt, now.branch) == (before.attempt + 1, before.branch)
    assert now.worker.split(".")[1] != before.worker.split(".")[1]
    assert not fleet.starts(run)[1]["resumed"]
    assert fleet.starts(run)[1]["said"] == fleet.starts(run)[0]["said"]
    assert fleet.spent(run) >= spent
    told = fleet.story(run)
    assert "note: attempt 2: the one before ended without an end" in told
    assert "step: workspace: not on this machine; it is made anew" in told
    assert fleet.overlaps(run) == []


def test_a_worker_that_was_stopped_is_killed_with_its_agents_before_others_take_over(fleet: Fleet) -> None:
    """It cannot end itself; its supervisor does, and the run goes on where its workspace is."""
    fleet.ready("a", "b")
    run = fleet.add("frozen", LONG)
    machine = working(fleet, run)
    stopped = machine.worker()
    os.kill(stopped, signal.SIGSTOP)
    fleet.until(lambda: machine.worker() != stopped, "its supervisor killed it")
    fleet.until(lambda: len(fleet.starts(run)) == 2, "it goes on")
    assert f"gave no sign of life for {QUICK.fence_s:g} s" in machine.serve_log
    assert fleet.starts(run)[1]["resumed"]
    assert fleet.run(run).worker.split(".")[1] == (machine.home.root / "home.id").read_text()[:8]
    assert fleet.overlaps(run) == []


def test_a_machine_that_stood_still_gets_no_answer_and_ends_what_it_did(fleet: Fleet) -> None:
    """Supervisor and worker stand still, the agent goes on: its key is dead as soon as others have its run."""
    fleet.ready("a", "b")
    run = fleet.add("still", LONG)
    machine = working(fleet, run)
    assert machine.process is not None
    supervisor, worker = machine.process.pid, machine.worker()
    first = fleet.starts(run)[0]["pid"]
    for pid in (supervisor, worker):
        os.kill(pid, signal.SIGSTOP)
    try:
        fleet.until(lambda: len(fleet.starts(run)) == 2, "another one goes on with it")
        began = fleet.starts(run)[1]["at"]

        def later() -> set[int]:
            return {it["status"] for it in fleet.lines("asked") if it["pid"] == first and it["at"] > began}

        fleet.until(later, "the first agent asks again")
        assert later() == {401}  # no such key
    finally:
        for pid in (worker, supervisor):
            os.kill(pid, signal.SIGCONT)
    fleet.until(lambda: machine.worker() != worker, "it ends when it may go on")
    fleet.until(lambda: first not in fleet.at_work(), "its agent is gone")
    second = fleet.starts(run)[1]["pid"]
    fleet.until(lambda: [it for it in fleet.lines("asked") if it["pid"] == second], "the second agent works")
    assert next(it["status"] for it in fleet.lines("asked") if it["pid"] == second) == 200
    assert fleet.run(run).attempt == 2


def test_a_worker_that_is_cut_off_from_the_database_ends_before_others_take_over(fleet: Fleet) -> None:
    """Nothing answers any more, and nothing says that nothing does."""
    fleet.end_machines()
    relay = Relay(fleet.folder / "relay", fleet.server.folder / ".s.PGSQL.5432")
    far = fleet.serve("far", url=fleet.url.replace(str(fleet.server.folder), str(relay.folder)))
    try:
        run = fleet.add("cut", LONG)
        assert working(fleet, run) is far
        fleet.ready("b")
        cut_off = far.worker()
        relay.cut()
        fleet.until(lambda: not Path(f"/proc/{cut_off}").exists(), "it ends itself")
        fleet.until(lambda: fleet.at_work() == [], "and its agent")
        assert len(fleet.starts(run)) == 1
        fleet.until(lambda: len(fleet.starts(run)) == 2, "the run goes on elsewhere")
        assert f"no heartbeat for {QUICK.fence_s:g} s: others will take over" in far.serve_log
        assert fleet.overlaps(run) == []
        assert fleet.run(run).attempt == 2
    finally:
        relay.mend()
        far.kill()
        relay.close()


def test_serve_needs_the_engines_tables_and_migrate_makes_them(fleet: Fleet) -> None:
    """Books that an older crewcap made have none."""
    url = fleet.server.migrated()
    place = fleet.machine("bare", url=url)
    refused = fleet.crewcap(place, "serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 4
    assert [line for line in refused.stderr.splitlines() if line.startswith(("error", "help"))] == [
        "error: the database has no tables of the engine, or older ones",
        "help: crewcap ledger migrate",
    ]
    assert fleet.crewcap(place, "ledger", "migrate").returncode == 0
    assert fleet.crewcap(place, "ledger", "migrate").stdout.endswith("nothing was to be done\n")
    assert fleet.server.sql(url, "SELECT count(*) FROM crewcap_engine.workflow_status") == [(0,)]


def test_whoever_shares_the_books_sees_stops_and_speaks_to_the_runs_of_the_others(fleet: Fleet) -> None:
    fleet.ready("a", "b")
    run = fleet.add("spoken", LONG)
    working(fleet, run)
    assert f"{run.name}" in fleet.crewcap(fleet.desk, "runs", "--open").stdout
    assert fleet.crewcap(fleet.desk, "logs", run.name).stdout.count("state") >= 2
    told = fleet.crewcap(fleet.desk, "resume", run.name, "-m", "and then rest")
    assert told.returncode == 0, told.stderr
    assert fleet.crewcap(fleet.desk, "stop", run.name).returncode == 0
    fleet.until(lambda: fleet.run(run).state == RunState.STOPPED, "it stops")
    assert fleet.at_work() == []


def test_a_run_that_waits_goes_on_in_its_session_wherever_its_answer_comes_from(fleet: Fleet) -> None:
    fleet.ready("a", "b")
    run = fleet.add("poor", "seconds=0", cap=Money.usd("0.001"))
    fleet.until(lambda: fleet.run(run).state == RunState.WAITING, "it is at its cap")
    before = fleet.run(run)
    done = fleet.crewcap(fleet.desk, "resume", run.name, "--add", "1")
    assert done.returncode == 0, done.stderr
    now = fleet.run(run)
    assert (now.state, now.attempt, now.cap) == (RunState.DONE, 2, Money.usd("1.001"))
    assert now.worker == before.worker
    assert [it["resumed"] for it in fleet.starts(run)] == [False, True]
    again = fleet.crewcap(fleet.desk, "resume", run.name, "-m", "and a word more")
    assert again.returncode == 0, again.stderr
    assert fleet.starts(run)[2]["resumed"]
