"""A runaway of eight agents at $0.50 a turn, under caps: the provider's own meter is the judge."""

from __future__ import annotations

import pytest
from tests.e2e.bench import Bench
from tests.e2e.conftest import Setting

from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@pytest.mark.parametrize(("cap", "least"), [("0.10", "0.06"), ("0.25", "0.20"), ("0.50", "0.45"), ("1.00", "0.90")])
def test_the_meter_ends_at_or_below_the_cap_and_near_it(bench: Setting, cap: str, least: str) -> None:
    """Not a cent above; and usable: a useful part of every cap is used."""
    machine = bench("runaway")
    done = machine.crewcap("run", "-p", "Improve everything.", "--cap", cap)
    assert Money.usd(least) <= machine.metered() <= Money.usd(cap)
    assert machine.charged() == machine.metered()
    assert machine.verify() == ()
    assert done.status == 3, done.err
    _waits_with_its_work_kept(machine)


def _waits_with_its_work_kept(machine: Bench) -> None:
    run = machine.run()
    assert (run.state, run.verdict) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
    assert (machine.home.run(run.id) / "workspace" / "src" / "login.py").exists()
    assert machine.totals().held.nano == 0
    agents = {record.conversation for record in machine.simulator.log.messages()}
    assert len(agents) >= 2


def test_the_same_runaway_alone_spends_many_times_its_own_cap(bench: Setting) -> None:
    """The other arm: the same agent and script, held by nothing but its own --max-budget-usd.

    Billed only for what was generated until it hung up, as a provider would that stops there.
    """
    machine = bench("runaway", bill="sent")
    machine.bare("-p", "Improve everything.", "--max-budget-usd", "0.10")
    assert machine.metered() > Money.usd("2.00")
