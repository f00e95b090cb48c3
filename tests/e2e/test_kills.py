"""kill -9 at any moment: nothing of the run survives, no money is lost sight of, and the next start goes on with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.e2e.bench import CHECK, ISSUE, SCRIPTS, Bench, Going, family, survivors, until
from tests.e2e.conftest import Setting

from crewcap.core.money import Money
from crewcap.core.runs import RunState
from crewcap.workspaces.sandbox.uids import lease

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


def test_while_the_agent_works(bench: Setting, tmp_path: Path) -> None:
    """The gateway reads the answer under way to its end, books it and goes; old keys open nothing any more."""
    machine = bench(SCRIPTS / "slow-edit.toml")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    _kill(machine, going)
    assert machine.run().state == RunState.RUNNING
    assert machine.charged() == machine.metered()
    held = lease(tmp_path)  # so that the next start is another user than the first one was
    try:
        _goes_on(machine, "running")
    finally:
        held.release()
    with machine.ledger() as books:
        keys = books.keys()
    assert [key.revoked_at is None for key in keys] == [False, False]


def test_of_a_runaway_does_not_give_it_its_cap_again(bench: Setting) -> None:
    """The cap is the run's: what an earlier start spent stays spent."""
    machine = bench(SCRIPTS / "working-runaway.toml")
    words = ("run", "-p", "Improve everything.", "--cap", "0.40")
    going = machine.start(*words)
    machine.wait_for_answer(4)
    _kill(machine, going)
    before = machine.metered()
    assert machine.crewcap(*words).status == 3
    assert Money.usd("0.15") < before < machine.metered() <= machine.charged() <= Money.usd("0.40")
    assert (machine.run().name, machine.run().state) == ("improve-everything.1", RunState.WAITING)


def test_while_it_is_prepared(bench: Setting) -> None:
    machine = bench("fix-login")
    machine.configure(repo='setup = "sleep 1"')
    going = machine.start("run", ISSUE)
    until(lambda: _sleeps(going), "the setup runs")
    _kill(machine, going)
    assert machine.simulator.log.records == []
    _goes_on(machine, "preparing")


def test_while_the_work_is_checked(bench: Setting) -> None:
    """The agent is not started again: what it did is fetched, checked and published once more."""
    machine = bench("fix-login")
    machine.configure(repo=f'check = "{CHECK} && sleep 1"')
    going = machine.start("run", ISSUE)
    until(lambda: _sleeps(going), "the last check runs")
    _kill(machine, going)
    _goes_on(machine, "finishing")
    assert machine.steps() == ["read", "edit", "test", "done"]


def test_resume_goes_on_with_it_too(bench: Setting) -> None:
    """Whoever reads `cut short` need not know which command it was."""
    machine = bench(SCRIPTS / "slow-edit.toml")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    _kill(machine, going)
    done = machine.crewcap("resume", "fix-login.1")
    assert done.status == 0, done.err
    assert machine.run().state == RunState.DONE
    assert machine.verify() == ()


def test_with_a_gateway_that_lives_on(bench: Setting) -> None:
    """The dead driver's door at it is replaced."""
    machine = bench(SCRIPTS / "slow-edit.toml")
    gateway = machine.start("gateway", "--listen", "127.0.0.1:0")
    until(machine.home.gateway_note.exists, "the gateway listens")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    everybody = family(going.pid)
    going.signal(signal.SIGKILL)
    going.end()
    until(lambda: survivors(everybody) == [], "nothing of the run is left")
    _goes_on(machine, "running")
    assert machine.gateways() == [gateway.pid]
    gateway.signal(signal.SIGTERM)
    assert gateway.end().status == 0


def test_of_the_gateway_itself(bench: Setting) -> None:
    """What was held is charged until somebody knows better; the run says what happened, and goes on when started."""
    machine = bench(SCRIPTS / "slow-edit.toml")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    everybody = family(going.pid)
    (gateway,) = machine.gateways()
    os.kill(gateway, signal.SIGKILL)
    done = going.end()
    assert (done.status, done.err.splitlines()[0].endswith("is gone: it ended before it was told to")) == (4, True)
    assert survivors(everybody) == []
    totals = machine.totals()
    assert totals.spent + totals.held >= machine.metered()
    _goes_on(machine, "running")


def test_of_the_gateway_while_the_work_is_checked(bench: Setting) -> None:
    """Nothing is asked of it any more, so the run ends as it would."""
    machine = bench("fix-login")
    machine.configure(repo=f'check = "{CHECK} && sleep 1"')
    going = machine.start("run", ISSUE)
    until(lambda: _sleeps(going), "the last check runs")
    (gateway,) = machine.gateways()
    os.kill(gateway, signal.SIGKILL)
    done = going.end()
    assert (done.status, machine.run().state) == (0, RunState.DONE), done.err
    assert machine.charged() == machine.metered()


def _kill(machine: Bench, going: Going) -> None:
    """kill -9 of the command; what it started must end by itself, the gateway included."""
    everybody = family(going.pid)
    assert len(everybody) > 2
    going.signal(signal.SIGKILL)
    going.end()
    until(lambda: survivors(everybody) == [], "nothing of the run is left")
    assert machine.gateways() == []


def _goes_on(machine: Bench, state: str) -> None:
    """The same command again takes the same run to its end."""
    done = machine.crewcap("run", ISSUE)
    assert done.status == 0, done.err
    assert f"fix-login.1 was cut short while {state}" in done.err
    assert (machine.run().name, machine.run().state) == ("fix-login.1", RunState.DONE)
    assert machine.branches() == ["crewcap/fix-login-1", "main"]
    assert machine.charged() >= machine.metered()
    assert machine.totals().held.nano == 0
    assert machine.verify() == ()


def _sleeps(going: Going) -> bool:
    return any(process.words[0].endswith(b"sleep") for process in family(going.pid))
