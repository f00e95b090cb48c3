"""Jobs out of closed requests: their sums are the ledger's."""

from __future__ import annotations

from tests.core.past import START, job

from crewcap.core.budget import KeyId
from crewcap.core.history import Outlay, jobs_of, keys_among, mean, quantile, runs_among, workflows
from crewcap.core.money import ZERO, Money


def test_averages_and_quantiles_are_whole_units() -> None:
    costs = [Money(1), Money(2), Money(4)]
    assert (mean(costs), quantile(costs, 50), quantile(costs, 95)) == (Money(2), Money(2), Money(4))
    assert (mean([]), quantile([], 50)) == (ZERO, ZERO)


def test_workflows_come_dearest_first() -> None:
    past = [job(1, workflow="audit"), job(5, workflow="review"), job(3, workflow="audit")]
    assert [(name, len(mine)) for name, mine in workflows(past).items()] == [("review", 1), ("audit", 2)]


def test_what_a_program_did_on_a_key_is_no_run_and_never_good() -> None:
    """Nobody knows whether it did what was asked; its cap may have stopped it."""
    outlay = Outlay(run="", key=KeyId("k1"), model="m", at=START, requests=3, nano=5)
    past = jobs_of([outlay], [], workflow_of={}, repo_of={})
    assert (runs_among(past), keys_among(past)) == ((), past)
    assert [(each.is_run, each.is_good, each.cost) for each in past] == [(False, False, Money(5))]
