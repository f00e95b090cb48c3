"""Ctrl-C once pauses, twice stops; whenever it comes, everything is kept, booked and cleaned up."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from tests.e2e.bench import CHECK, ISSUE, SCRIPTS, Bench, Going, family, survivors, until
from tests.e2e.conftest import Setting

from crewcap.core.runs import RunState, Verdict
from crewcap.simulator.script import Script
from crewcap.simulator.script_file import load

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


def is_at(going: Going, program: bytes) -> bool:
    """Whether a command of the run's own runs now."""
    return any(process.words[0].endswith(program) for process in family(going.pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_pauses_the_run_and_it_can_go_on(bench: Setting, number: signal.Signals) -> None:
    """In the middle of an answer: the answer is read to its end for the books, the session goes on later."""
    machine = bench(SCRIPTS / "slow-edit.toml")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    everybody = family(going.pid)
    going.signal(number)
    done = going.end()
    assert done.status == 128 + number, done.err
    assert survivors(everybody) == []
    run = machine.run()
    assert (run.state, run.verdict) == (RunState.WAITING, Verdict.CANCELLED)
    assert machine.charged() == machine.metered()
    assert machine.totals().uncertain.nano == 0
    if number == signal.SIGINT:
        _goes_on(machine)


def _goes_on(machine: Bench) -> None:
    done = machine.crewcap("resume")
    assert done.status == 0, done.err
    assert (machine.run().name, machine.run().state) == ("fix-login.1", RunState.DONE)
    assert machine.branches() == ["crewcap/fix-login-1", "main"]
    assert machine.charged() == machine.metered()


def test_twice_stops_it_without_waiting_for_an_answer_that_does_not_come(bench: Setting) -> None:
    """What the answer may cost stays charged until the gateway knows better."""
    machine = bench(silent_edit())
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    everybody = family(going.pid)
    agent = next(process for process in everybody if process.words[0].endswith(b"claude"))
    going.signal(signal.SIGINT)
    until(lambda: survivors([agent]) == [], "the agent is gone")
    going.signal(signal.SIGINT)
    done = going.end(limit_s=20)
    run, totals = machine.run(), machine.totals()
    assert (done.status, run.state, run.verdict) == (130, RunState.STOPPED, Verdict.CANCELLED)
    assert totals.spent + totals.uncertain + totals.held >= machine.metered()
    _end(machine.gateways())
    until(lambda: survivors(everybody) == [], "nothing is left")
    assert machine.charged() >= machine.metered()
    assert machine.totals().held.nano == 0


def _end(gateways: list[int]) -> None:
    """A gateway that is told twice does not wait either."""
    for pid in gateways:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)


def silent_edit() -> Script:
    """The provider falls silent in the middle of its second answer."""
    script = load(SCRIPTS / "slow-edit.toml")
    return replace(script, steps=tuple(replace(s, hang=6 if s.name == "edit" else None) for s in script.steps))


def test_before_the_agent_works_it_costs_nothing(bench: Setting) -> None:
    machine = bench("fix-login")
    machine.configure(repo='setup = "sleep 50"')
    going = machine.start("run", ISSUE)
    until(lambda: is_at(going, b"sleep"), "the setup runs")
    everybody = family(going.pid)
    going.signal(signal.SIGINT)
    assert going.end(limit_s=20).status == 130
    until(lambda: survivors(everybody) == [], "nothing is left")
    assert machine.run().state == RunState.STOPPED
    assert machine.simulator.log.records == []


def test_a_check_is_not_waited_for_and_the_run_says_that_it_was_not_checked(bench: Setting) -> None:
    """The work is on its branch all the same."""
    machine = bench("fix-login")
    machine.configure(repo=f'check = "{CHECK}; ! grep -q casefold src/login.py || sleep 50"')
    going = machine.start("run", ISSUE)
    until(lambda: is_at(going, b"sleep"), "the check runs again")
    going.signal(signal.SIGINT)
    assert going.end(limit_s=20).status == 130
    run = machine.run()
    assert (run.state, run.check_after.result, run.commits) == (RunState.WAITING, "not_run", 1)
    assert machine.branches() == ["crewcap/fix-login-1", "main"]


def test_another_terminal_stops_it(bench: Setting) -> None:
    machine = bench(SCRIPTS / "slow-edit.toml")
    going = machine.start("run", ISSUE)
    machine.wait_for_answer(2)
    assert machine.start("stop").end().status == 0
    assert going.end().status == 130
    assert (machine.run().state, machine.gateways()) == (RunState.STOPPED, [])
    assert machine.charged() == machine.metered()
