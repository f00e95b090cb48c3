"""The check loop, and every limit beside money that ends a run."""

from __future__ import annotations

import pytest
from tests.e2e.bench import ISSUE, SCRIPTS
from tests.e2e.conftest import Setting

from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


def test_a_red_check_goes_back_into_the_session_and_is_put_right(bench: Setting) -> None:
    """In the same conversation: the second try knows of the first."""
    machine = bench(SCRIPTS / "second-try.toml")
    done = machine.crewcap("run", ISSUE)
    run = machine.run()
    assert (done.status, run.verdict, run.fixes) == (0, Verdict.FINISHED, 1), done.err
    assert (run.check_before.result, run.check_after.result) == ("failed", "passed")
    assert machine.steps() == ["wrong", "done", "right", "done"]
    assert len({record.conversation for record in machine.simulator.log.messages()}) == 1
    assert "casefold" in machine.git("show", "crewcap/fix-login-1:src/login.py")
    assert machine.charged() == machine.metered()


def test_it_goes_back_no_more_often_than_was_said(bench: Setting) -> None:
    """And what it did is kept, red as it is."""
    machine = bench(SCRIPTS / "never-right.toml")
    done = machine.crewcap("run", ISSUE)
    run = machine.run()
    assert (done.status, run.state, run.verdict) == (1, RunState.FAILED, Verdict.CHECK_FAILED)
    assert machine.steps() == ["first", "done", "again", "done", "last", "done"]
    assert (run.fixes, run.commits) == (2, 3)
    assert machine.git("show", "crewcap/fix-login-1:src/login.py").endswith("# first\n# again\n# last")


def test_no_change_is_an_end_of_its_own(bench: Setting) -> None:
    machine = bench("errors")  # its prompts that ask for no error are answered with words alone
    done = machine.crewcap("run", "-p", "Say that all is well.")
    assert (done.status, machine.run().state, machine.run().verdict) == (1, RunState.FAILED, Verdict.NO_CHANGES)
    assert machine.branches() == ["main"]
    assert machine.charged() == machine.metered()


def test_a_setup_that_fails_costs_nothing(bench: Setting) -> None:
    machine = bench("fix-login")
    machine.configure(repo='setup = "echo no such package; exit 3"')
    done = machine.crewcap("run", ISSUE)
    run = machine.run()
    assert (done.status, run.state, run.verdict) == (1, RunState.FAILED, Verdict.SETUP_FAILED)
    assert "no such package" in run.reason
    assert machine.simulator.log.records == []


@pytest.mark.parametrize("script", ["fix-login", "runaway"])
def test_turns_are_limited_subagents_included(bench: Setting, script: str) -> None:
    """By us, not by the agent's own count, which knows of the main conversation only."""
    machine = bench(script)
    done = machine.crewcap("run", "-p", "Improve everything.", "--max-turns", "3")
    assert (done.status, machine.run().state, machine.run().verdict) == (1, RunState.FAILED, Verdict.TURN_LIMITED)
    assert len(machine.simulator.log.messages()) == machine.totals().requests == 3
    assert machine.charged() == machine.metered()


@pytest.mark.parametrize("limit", ["timeout", "no_progress"])
def test_time_is_limited(bench: Setting, limit: str) -> None:
    """All in all, and without any sign of life; an answer that was under way stays charged."""
    machine = bench("hangup")
    machine.configure(gateway='drain = "1s"', defaults=f'{limit} = "2s"')
    done = machine.crewcap("run", "-p", "Fall silent.")
    run = machine.run()
    assert (done.status, run.state, run.verdict) == (1, RunState.FAILED, Verdict.TIMED_OUT)
    assert run.cut == ("timeout" if limit == "timeout" else "stalled")
    assert machine.charged() >= machine.metered()
    assert machine.totals().held.nano == 0
