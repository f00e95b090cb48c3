"""What people write at an issue reaches its run: the agent goes on in its session, on its branch, in one ledger."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.bench import ISSUE, LIMIT_S, SCRIPTS, Bench, until
from tests.e2e.conftest import Setting

from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.stores import Entry, FollowUp

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]

ENDLESS = "issues/improve.md"
CAP = Money.usd("0.40")


@dataclass(frozen=True, kw_only=True)
class Lived:
    """Two issues under one serve, from their first runs to their last answers."""

    machine: Bench
    first: Run  # as it was when it was done for the first time
    paused: Run  # the other one, at its cap
    paused_report: str
    then: Run  # the first one after more was asked for
    edited: Run  # and after its issue was changed

    def entries(self, run: Run) -> tuple[Entry, ...]:
        with self.machine.ledger() as books:
            return books.entries(scope=Scope(f"run:{run.id}"))

    def follow_ups(self, run: Run) -> list[FollowUp]:
        with self.machine.runs() as store:
            return list(store.follow_ups("files", run.issue.key))


@pytest.fixture(scope="module")
def lived(shared_bench: Setting) -> Iterator[Lived]:
    machine = shared_bench(SCRIPTS / "follow-ups.toml")
    machine.configure(repo='check = "true"')
    (machine.shop / ENDLESS).write_text("# Improve everything\n\nImprove it.\n", encoding="utf-8")
    serve = machine.start("serve", "--listen", "127.0.0.1:0", "--json")
    until(lambda: serve.out.read_text().strip(), "it serves")
    assert json.loads(serve.out.read_text())["url"]
    try:
        yield _live(machine)
    finally:
        serve.signal(signal.SIGTERM)
        assert serve.end().status in {0, 143}


def _live(machine: Bench) -> Lived:
    both = machine.start("run", ISSUE), machine.start("run", ENDLESS, "--cap", "0.40")
    done, paused = (each.end() for each in both)
    assert (done.status, paused.status) == (0, 3), done.err + paused.err
    first, waiting = machine.run("fix-login.1"), machine.run("improve.1")
    paused_report = (machine.shop / ENDLESS).read_text(encoding="utf-8")
    _write(machine.shop / ISSUE, "@crewcap also cover the sign-up form, please")
    _write(machine.shop / ENDLESS, "@crewcap budget +2")
    then = _at_rest(machine, "fix-login.1", attempt=2)
    _at_rest(machine, "improve.1", attempt=2)
    _write(machine.shop / ENDLESS, "@crewcap thanks!")
    text = (machine.shop / ISSUE).read_text(encoding="utf-8")
    (machine.shop / ISSUE).write_text(text.replace("cannot log in", "cannot log in or out"), encoding="utf-8")
    edited = _at_rest(machine, "fix-login.1", attempt=3)
    until(lambda: "did you mean" in _text(machine, ENDLESS) or "whole sentences" in _text(machine, ENDLESS), "answered")
    machine.simulator.idle_in_thread(LIMIT_S)
    return Lived(machine=machine, first=first, paused=waiting, paused_report=paused_report, then=then, edited=edited)


def _write(path: Path, line: str) -> None:
    """As a person does: a line at the end of the file, behind our report."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def _text(machine: Bench, issue: str) -> str:
    return (machine.shop / issue).read_text(encoding="utf-8")


def _at_rest(machine: Bench, name: str, *, attempt: int) -> Run:
    def is_there() -> bool:
        run = machine.run(name)
        return run.attempt == attempt and run.state in {RunState.DONE, RunState.FAILED, RunState.WAITING}

    until(is_there, f"{name} came to rest in attempt {attempt}")
    return machine.run(name)


def test_a_sentence_at_a_done_issue_is_a_second_commit_on_its_branch_in_the_same_session(lived: Lived) -> None:
    first, then, machine = lived.first, lived.then, lived.machine
    assert (first.state, first.commits, then.state, then.commits) == (RunState.DONE, 1, RunState.DONE, 2)
    assert (then.session, then.branch) == (first.session, first.branch)
    assert "sign-up" in machine.git("show", f"{then.commit}:notes.txt")
    assert "casefold" in machine.git("show", f"{then.commit}:src/login.py")


def test_a_changed_issue_is_a_third_one_and_the_text_is_the_runs_from_then_on(lived: Lived) -> None:
    edited, machine = lived.edited, lived.machine
    assert (edited.state, edited.commits, edited.session) == (RunState.DONE, 3, lived.first.session)
    assert "cannot log in or out" in edited.issue.body
    assert "goodbye" in machine.git("show", f"{edited.branch}:notes.txt")
    assert "@crewcap" not in edited.issue.body


def test_what_came_of_it_stands_at_the_issue_and_nothing_was_done_twice(lived: Lived) -> None:
    text = _text(lived.machine, ISSUE)
    assert "`@crewcap also cover the sign-up form, please`: fix-login.1 goes on, with $0.50 in all." in text
    assert "The issue was changed: fix-login.1 goes on, with $0.50 in all." in text
    assert text.count("<!-- crewcap:fix-login.1 -->") == 1
    assert [(each.kind, each.is_done) for each in lived.follow_ups(lived.first)] == [("words", True), ("edit", True)]
    assert lived.machine.run("fix-login.1").attempt == 3


def test_at_its_cap_the_issue_tells_how_it_is_answered(lived: Lived) -> None:
    assert (lived.paused.state, lived.paused.verdict) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
    assert "Answer here: `@crewcap budget +2.00`, `@crewcap budget +5.00`, `@crewcap stop`." in lived.paused_report


def test_two_dollars_more_at_the_issue_and_it_goes_on_and_ends_in_one_session_and_one_ledger(lived: Lived) -> None:
    run, machine = machine_run(lived), lived.machine
    assert (run.state, run.verdict, run.attempt) == (RunState.DONE, Verdict.FINISHED, 2)
    assert (run.cap, run.session) == (CAP + Money.usd(2), lived.paused.session)
    notes = machine.git("show", f"{run.branch}:notes.txt").splitlines()
    assert notes[0] == "round 1"
    assert notes[-1] == "done"
    entries = lived.entries(run)
    keys = {entry.key for entry in entries}
    assert len(keys) == 2  # one for each start of its agent
    spent = sum(entry.spent.nano for entry in entries)
    paused = sum(entry.spent.nano for entry in entries if entry.key == entries[0].key)
    assert 0 < paused <= CAP.nano < spent


def test_thanks_are_answered_in_words_and_cost_nothing(lived: Lived) -> None:
    run = machine_run(lived)
    assert run.attempt == 2
    assert lived.follow_ups(run)[-1].text == "thanks!"


def test_the_books_agree_with_the_providers_meter(lived: Lived) -> None:
    assert lived.machine.charged() == lived.machine.metered()
    assert lived.machine.verify() == ()


def machine_run(lived: Lived) -> Run:
    return lived.machine.run("improve.1")


def test_paused_at_the_cap_by_real_spending_and_resumed_with_more_by_a_command(bench: Setting) -> None:
    """The same without anybody serving: one session, both parts in one ledger."""
    machine = bench(SCRIPTS / "follow-ups.toml")
    machine.configure(repo='check = "true"')
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", "0.40")
    assert done.status == 3, done.err
    paused, first = machine.run(), machine.metered()
    assert Money.usd("0.30") <= first <= CAP
    again = machine.crewcap("resume", paused.name, "--add", "2")
    assert again.status == 0, again.err
    run = machine.run()
    assert (run.state, run.verdict, run.session) == (RunState.DONE, Verdict.FINISHED, paused.session)
    with machine.ledger() as books:
        entries = books.entries(scope=Scope(f"run:{run.id}"))
    assert len({entry.key for entry in entries}) == 2
    assert sum(entry.spent.nano for entry in entries) == machine.metered().nano > first.nano
    assert machine.verify() == ()
