"""What the open runs may still cost together, as the books have it; the sums themselves are `core/exposure`'s."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.run_home import RunHome, utc_now

from crewcap.cli.context import Call, make_call
from crewcap.cli.night.exposed import goes_on_alone, worst_of
from crewcap.cli.runs.view import totals_of
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.stores import Limit


@pytest.fixture
def call(home: RunHome) -> Iterator[Call]:
    made = make_call({"home": str(home.home.root), "config": str(home.config)})
    yield made
    made.close()


def worst(call: Call, *runs: Run) -> Money:
    found = [(run, totals_of(call, run)) for run in runs]
    return worst_of(call, found, call.app.ledger.all_balances(), utc_now())


def test_what_is_left_of_each_cap_adds_up(home: RunHome, call: Call) -> None:
    """Three dollars each; what was spent is spent, what is held may still be spent."""
    first, second = home.add("a", RunState.RUNNING), home.add("b", RunState.QUEUED)
    home.spend(first, "1.00")
    home.hold(first, "0.50")
    assert worst(call, first, second) == Money.usd(5)


def test_a_cap_that_is_used_up_takes_nothing_from_another_run(home: RunHome, call: Call) -> None:
    over, other = home.add("a", RunState.RUNNING, cap=Money.usd("0.50")), home.add("b", RunState.RUNNING)
    home.spend(over, "0.80")
    assert worst(call, over, other) == Money.usd(3)


def test_a_budget_that_they_share_is_the_most_that_all_can_cost(home: RunHome, call: Call) -> None:
    runs = [home.add(key, RunState.RUNNING) for key in "ab"]
    limit = Limit(scope=Scope("repo:shop"), window="day", amount=Money.usd(4), source="command")
    call.app.ledger.set_limit(limit)
    assert worst(call, *runs) == Money.usd(4)


def test_a_run_that_waits_for_somebody_can_cost_nothing_by_itself(home: RunHome, call: Call) -> None:
    asks = home.add("a", RunState.WAITING, waits_for="answer", hosted=True)
    alone = home.add("b", RunState.WAITING, waits_for="money", hosted=True)
    assert worst(call, asks) == Money.usd(0)
    assert worst(call, asks, alone) == Money.usd(3)


def test_teams_of_a_run_of_an_earlier_version_are_asked_of_its_key_once(home: RunHome, call: Call) -> None:
    """It has no scopes on its row; without a key it counts in what every run counts in."""
    run = home.add("a", RunState.RUNNING)
    for scope, amount in (("team:core", 1), ("repo:shop", 2)):
        limit = Limit(scope=Scope(scope), window="day", amount=Money.usd(amount), source="command")
        call.app.ledger.set_limit(limit)
    assert worst(call, run) == Money.usd(2)
    known: dict[Any, Any] = {run.id: (Scope("team:core"),)}
    found = [(run, totals_of(call, run))]
    assert worst_of(call, found, call.app.ledger.all_balances(), utc_now(), known) == Money.usd(1)


@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({"waits_for": "provider", "hosted": True}, True),
        ({"waits_for": "money", "hosted": True}, True),
        ({"waits_for": "answer", "hosted": True}, False),
        ({"waits_for": "provider", "hosted": False}, False),  # nobody is there to go on with it
        ({"verdict": Verdict.PROVIDER_ERROR}, True),  # of an earlier version, which did not say what for
        ({"verdict": Verdict.BUDGET_EXHAUSTED}, False),
    ],
)
def test_a_run_goes_on_alone_where_a_worker_has_it_and_nobody_is_asked(
    home: RunHome, fields: dict[str, Any], *, alone: bool
) -> None:
    assert goes_on_alone(home.add("a", RunState.WAITING, **fields)) is alone
