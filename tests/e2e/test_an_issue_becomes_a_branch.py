"""The main job: an issue in, a branch out, checked, and every cent of it in the books."""

from __future__ import annotations

import pytest
from tests.e2e.bench import ISSUE, MODEL, Bench, Done
from tests.e2e.conftest import Setting

from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@pytest.fixture(scope="module")
def machine(shared_bench: Setting) -> Bench:
    made = shared_bench("fix-login")
    (made.shop / "src" / "login.py").write_text("half a thought\n", encoding="utf-8")
    (made.shop / "notes.txt").write_text("not yet for git\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def done(machine: Bench) -> Done:
    """The one run that every test here looks at."""
    return machine.crewcap("run", ISSUE)


def test_it_ends_well(machine: Bench, done: Done) -> None:
    run = machine.run()
    assert done.status == 0, done.err
    assert (run.name, run.state, run.verdict) == ("fix-login.1", RunState.DONE, Verdict.FINISHED)
    assert (run.model, run.agent, run.sandbox) == (MODEL, "claude", "bubblewrap")


def test_the_work_is_on_a_branch_of_the_users_repository(machine: Bench, done: Done) -> None:
    assert done.status == 0
    assert machine.branches() == ["crewcap/fix-login-1", "main"]
    diff = machine.git("diff", "-U0", "main", "crewcap/fix-login-1")
    assert "+    return known.casefold() == email.casefold()" in diff
    assert machine.git("diff", "--name-only", "main", "crewcap/fix-login-1") == "src/login.py"


def test_the_working_folder_is_untouched(machine: Bench, done: Done) -> None:
    """Not the branch that is checked out, not a changed file, not an untracked one; the issue gets its report."""
    assert done.status == 0
    assert machine.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert machine.git("diff", "--name-only").split() == [ISSUE, "src/login.py"]
    assert (machine.shop / "src" / "login.py").read_text() == "half a thought\n"
    assert (machine.shop / "notes.txt").read_text() == "not yet for git\n"
    assert "half a thought" not in machine.git("show", "crewcap/fix-login-1:src/login.py")


def test_the_report_stands_below_the_issues_own_words(machine: Bench, done: Done) -> None:
    assert done.status == 0
    text = (machine.shop / ISSUE).read_text(encoding="utf-8")
    assert text.startswith(machine.git("show", f"HEAD:{ISSUE}"))
    assert text.count("<!-- crewcap:fix-login.1 -->") == 1
    assert "crewcap/fix-login-1" in text
    assert machine.metered().show() in text


def test_the_projects_own_check_judged_before_and_after(machine: Bench, done: Done) -> None:
    assert done.status == 0
    run = machine.run()
    assert (run.check_before.result, run.check_before.summary) == ("failed", "2 passed, 1 failed")
    assert (run.check_after.result, run.check_after.summary) == ("passed", "3 passed")


def test_the_providers_meter_and_the_ledger_agree_to_the_last_unit(machine: Bench, done: Done) -> None:
    assert done.status == 0
    totals = machine.totals()
    assert totals.spent == machine.metered()
    assert (totals.uncertain.nano, totals.held.nano, totals.refused) == (0, 0, 0)
    assert totals.requests == len(machine.simulator.meter.bills) == 4
    assert machine.verify() == ()


def test_nothing_is_left_running(machine: Bench, done: Done) -> None:
    assert done.status == 0
    assert machine.gateways() == []
