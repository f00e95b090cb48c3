"""`crewcap exec`: the bare agent, as its user starts it, with a key that is worth the cap."""

from __future__ import annotations

import pytest
from tests.e2e.bench import MODEL, Bench, Done
from tests.e2e.conftest import Setting

from crewcap.core.money import Money

pytestmark = pytest.mark.agent


def test_a_runaway_ends_at_the_cap(bench: Setting) -> None:
    """One line says what it cost; the agent's own exit status comes through."""
    machine = bench("runaway")
    done = _exec(machine, "0.50", "Improve everything.")
    assert Money.usd("0.30") <= machine.metered() <= Money.usd("0.50")
    assert machine.charged() == machine.metered()
    assert done.status == 1
    cost = done.err.splitlines()[-1]
    assert cost.startswith(f"crewcap: {machine.metered().show()} of $0.50 in ")
    assert machine.gateways() == []


def test_an_agent_that_is_done_ends_as_it_would_alone(bench: Setting) -> None:
    machine = bench("errors")
    done = _exec(machine, "0.50", "Is all well?")
    assert (done.status, done.out.strip()) == (0, "Nothing is wrong.")
    assert machine.charged() == machine.metered()


def _exec(machine: Bench, cap: str, prompt: str) -> Done:
    agent = (machine.agent(), "-p", prompt, "--model", MODEL, "--permission-mode", "bypassPermissions")
    done = machine.start("exec", "--cap", cap, "--", *agent, environ={"IS_SANDBOX": "1"}).end()
    machine.simulator.idle_in_thread()
    return done
