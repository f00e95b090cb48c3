"""A runaway of eight agents, held by limits on its agents: the real agent's own headers say who asks."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import Setting

from crewcap.core.money import ZERO
from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


def test_a_run_has_no_more_agents_than_its_settings_allow_and_says_so(bench: Setting) -> None:
    """The cap is far away. Each agent beyond the limit asks once and costs nothing; the main conversation goes on."""
    machine = bench("runaway")
    machine.configure(defaults="max_agents = 2\nmax_concurrent = 1")
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", "20.00")
    told = "6 requests were refused: this run may have 2 agents beside its main conversation and has 2"
    run = machine.run()
    assert (run.state, run.verdict, run.agents) == (RunState.FAILED, Verdict.NO_CHANGES, told), done.out
    assert any(event.text == f"agents: {told}" for event in machine.story())
    assert "6 requests were refused" in done.out
    with machine.ledger() as books:
        entries = books.entries()
    assert len({entry.agent for entry in entries if entry.agent}) == 2
    totals = machine.totals()
    assert (totals.spent, totals.uncertain, totals.refused) == (machine.metered(), ZERO, 0)
