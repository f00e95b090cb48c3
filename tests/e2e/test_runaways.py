"""The real agent goes in circles: the watch pauses it with its evidence, and it goes on when it is told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.e2e.bench import SCRIPTS
from tests.e2e.conftest import Setting

from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]

EVIDENCE = re.compile(r"ran cat src/login\.py 8 times with the same answer, turns \d+-\d+")


def test_an_agent_in_circles_is_paused_with_its_evidence_and_goes_on_when_told(bench: Setting) -> None:
    """The cap is far away and thirty turns are saved; the session, the workspace and the evidence are kept."""
    machine = bench(SCRIPTS / "in-circles.toml")
    done = machine.crewcap("run", "issues/fix-login.md")
    assert done.status == 1, done.err
    run, totals = machine.run(), machine.totals()
    assert (run.state, run.verdict) == (RunState.WAITING, Verdict.RUNAWAY), done.out
    assert EVIDENCE.search(run.reason)
    assert totals.requests < 16  # of forty; the agent may begin a turn or two while it is being ended
    assert totals.held.nano == 0
    assert "paused by the watch" in done.out
    assert EVIDENCE.search(done.out)
    assert f"crewcap resume {run.name}" in done.out
    shown = json.loads(machine.crewcap("show", run.name, "--json").out)
    assert [(each["rule"], each["action"]) for each in shown["watch"]] == [("repeats", "note"), ("repeats", "pause")]
    assert EVIDENCE.search(shown["watch"][1]["words"])
    assert EVIDENCE.search((machine.shop / "issues" / "fix-login.md").read_text("utf-8"))  # the report
    again = machine.crewcap("resume", run.name)
    assert again.status == 0, again.err + again.out
    ended = machine.run()
    assert (ended.state, ended.verdict, ended.session) == (RunState.DONE, Verdict.FINISHED, run.session)
    assert machine.metered() == machine.charged()
    replayed = json.loads(machine.crewcap("watch", "replay", "--json").out)
    assert [(each["rule"], each["action"]) for each in replayed["findings"]] == [
        (remark.rule, remark.action) for remark in run.watched
    ]
    assert EVIDENCE.search(replayed["findings"][-1]["words"])


@pytest.mark.parametrize(
    ("script", "cap"),
    [("fix-login", "1"), (SCRIPTS / "never-right.toml", "1"), (SCRIPTS / "working-runaway.toml", "2")],
)
def test_work_is_no_runaway(bench: Setting, script: Any, cap: str) -> None:
    """One fix, three wrong ones, and eight agents that each write something in every turn: not even a note."""
    machine = bench(script)
    machine.crewcap("run", "-p", "Mend the login.", "--cap", cap)
    run = machine.run()
    assert run.turns > 2
    assert (run.watched, run.runaway) == ((), "")
