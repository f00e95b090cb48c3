"""Books in PostgreSQL: the real agent on two machines, one budget over both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.bench import ISSUE, MODEL, Bench, Going
from tests.e2e.conftest import Setting
from tests.stores.postgres_server import shared
from tests.stores.postgres_shelf import Shelf

from crewcap.core.budget import ALL
from crewcap.core.money import Money, total
from crewcap.home import Home
from crewcap.stores.postgres.ledger import PostgresLedger
from crewcap.stores.postgres.runs import PostgresRuns

pytestmark = pytest.mark.agent


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Shelf]:
    found = Shelf(shared(), tmp_path / "desk")
    yield found
    found.end()


def _configure(machine: Bench, desk: Shelf, budgets: str = "") -> None:
    machine.configure(gateway=f'[store]\nurl = "{desk.url}"\n[budgets]\n{budgets}')


@contextmanager
def _books(desk: Shelf) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(Home(desk.home.root.with_name("auditor")), desk.url, monotonic=lambda: 0.0)
    yield ledger
    ledger.close()


@pytest.mark.sandbox
def test_an_issue_becomes_a_branch_with_its_books_in_a_database(bench: Setting, desk: Shelf) -> None:
    machine = bench("fix-login")
    _configure(machine, desk)
    done = machine.crewcap("run", ISSUE, "--cap", "1.00")
    assert done.status == 0, done.out + done.err
    with _books(desk) as ledger:
        assert ledger.totals(ALL).spent == machine.metered()
        assert ledger.verify().problems == ()
    store = PostgresRuns(machine.home, desk.url, clock=lambda: desk.clocks.wall)
    (run,) = store.list()
    assert (run.state, run.name) == ("done", "fix-login.1")
    assert [it.kind for it in store.story(run.id)].count("state") >= 3
    store.close()
    assert machine.crewcap("ledger", "verify").status == 0
    assert not machine.home.ledger.exists()


def test_two_runaways_on_two_machines_end_at_the_one_budget_over_both(bench: Setting, desk: Shelf) -> None:
    """Each has a cap of fifty cents, both together a day of sixty."""
    machines = [bench("runaway")]
    machines.append(Bench(root=machines[0].root / "second", simulator=machines[0].simulator))
    machines[1].root.mkdir()
    machines[1].set_up()
    for machine in machines:
        _configure(machine, desk, '"all" = { day = 0.60 }')
    going = [_runaway(machine) for machine in machines]
    ends = [each.end() for each in going]
    machines[0].simulator.idle_in_thread()
    machines[1].clean_up()
    metered = machines[0].metered()
    assert Money.usd("0.40") <= metered <= Money.usd("0.60"), [end.err for end in ends]
    with _books(desk) as ledger:
        totals = ledger.totals(ALL)
        assert totals.spent + totals.uncertain == metered
        assert ledger.verify().problems == ()
        caps = [it for it in ledger.all_balances() if it.scope.startswith("key:")]
        assert len(caps) == 2
        assert total([it.spent + it.uncertain for it in caps]) == metered


def _runaway(machine: Bench) -> Going:
    agent = (machine.agent(), "-p", "Improve everything.", "--model", MODEL)
    words = ("exec", "--cap", "0.50", "--", *agent, "--permission-mode", "bypassPermissions")
    return machine.start(*words, environ={"IS_SANDBOX": "1"})
