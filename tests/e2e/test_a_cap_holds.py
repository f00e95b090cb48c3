"""A runaway of eight agents at $0.50 a turn, under caps: the provider's own meter is the judge."""

from __future__ import annotations

import pytest
from tests.e2e.bench import SCRIPTS, Bench
from tests.e2e.conftest import Setting

from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@pytest.mark.parametrize(
    ("cap", "least", "agents"), [("0.10", "0.06", 2), ("0.25", "0.20", 3), ("0.50", "0.45", 3), ("1.00", "0.90", 3)]
)
def test_the_meter_ends_at_or_below_the_cap_and_near_it(bench: Setting, cap: str, least: str, agents: int) -> None:
    """Not a cent above; and usable: a useful part of every cap is used, by more than one agent."""
    machine = bench("runaway")
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", cap)
    assert done.status == 3, done.err
    assert Money.usd(least) <= machine.metered() <= Money.usd(cap)
    assert len({record.conversation for record in machine.simulator.log.messages()}) >= agents
    _waits(machine)


def test_at_the_cap_the_work_so_far_is_kept(bench: Setting) -> None:
    """On its branch, in the workspace, and in a session that more money lets go on."""
    machine = bench(SCRIPTS / "working-runaway.toml")
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", "0.40")
    assert done.status == 3, done.err
    assert Money.usd("0.36") <= machine.metered() <= Money.usd("0.40")
    _waits(machine)
    assert machine.branches() == ["crewcap/improve-everything-1", "main"]
    assert "round 1" in machine.git("show", "crewcap/improve-everything-1:notes.txt")
    assert machine.crewcap("resume", "--add", "0.20").status == 3
    assert Money.usd("0.50") <= machine.metered() <= Money.usd("0.60")
    _waits(machine)


def _waits(machine: Bench) -> None:
    run = machine.run()
    assert (run.name, run.state, run.verdict) == ("improve-everything.1", RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
    assert machine.charged() == machine.metered()
    assert machine.totals().held.nano == 0
    assert machine.verify() == ()


def test_the_same_runaway_alone_spends_many_times_its_own_cap(bench: Setting) -> None:
    """The other arm: the same agent and script, held by nothing but its own --max-budget-usd.

    Billed only for what was generated until it hung up, as a provider would that stops there.
    """
    machine = bench("runaway", bill="sent")
    machine.bare("-p", "Improve everything.", "--max-budget-usd", "0.10")
    assert machine.metered() > Money.usd("2.00")
