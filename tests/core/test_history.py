"""Jobs out of closed requests: their sums are the ledger's."""

from __future__ import annotations

from tests.core.past import job

from crewcap.core.history import mean, quantile, workflows
from crewcap.core.money import ZERO, Money


def test_averages_and_quantiles_are_whole_units() -> None:
    costs = [Money(1), Money(2), Money(4)]
    assert (mean(costs), quantile(costs, 50), quantile(costs, 95)) == (Money(2), Money(2), Money(4))
    assert (mean([]), quantile([], 50)) == (ZERO, ZERO)


def test_workflows_come_dearest_first() -> None:
    past = [job(1, workflow="audit"), job(5, workflow="review"), job(3, workflow="audit")]
    assert [(name, len(mine)) for name, mine in workflows(past).items()] == [("review", 1), ("audit", 2)]
