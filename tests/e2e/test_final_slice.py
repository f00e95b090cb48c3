"""The real agent, told in its live session that its money runs short, ends by itself with its work in order."""

from __future__ import annotations

import pytest
from tests.e2e.bench import SCRIPTS
from tests.e2e.conftest import Setting

from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict
from crewcap.gateway.money.admission import FROM_SLICE

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


def test_the_agent_is_told_to_wrap_up_and_does(bench: Setting) -> None:
    """Its next turn hears our message; nothing is refused, nothing is cut off, and the story says what happened."""
    machine = bench(SCRIPTS / "money-runs-short.toml")
    machine.configure(repo='check = "true"')
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", "1.00")
    assert done.status == 0, done.err
    run, totals = machine.run(), machine.totals()
    assert (run.state, run.verdict) == (RunState.DONE, Verdict.FINISHED)
    assert run.wrap_up.endswith("left, the agent was told to wrap up")
    assert totals.refused == 0
    steps = machine.steps()
    assert steps[-1] == "wrapped-up"
    assert steps.count("wrapped-up") == 1
    with machine.ledger() as books:
        entries = books.entries(scope=Scope(f"run:{run.id}"))
    first = next(number for number, entry in enumerate(entries) if FROM_SLICE in entry.notes)
    assert all(FROM_SLICE not in entry.notes for entry in entries[first + 1 :])  # served from it once, then told
    assert len(entries) - first <= 4
    assert Money.usd("0.90") <= machine.metered() == machine.charged() <= Money.usd("1.00")
    assert "final slice" in "".join(event.text for event in machine.story())
    assert "told to wrap up" in done.err + done.out
    assert "more" in machine.git("show", f"{run.branch}:notes.txt")
