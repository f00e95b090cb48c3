"""What the open runs may still cost together, read from the books: those that can spend without anybody's word."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from datetime import datetime, timedelta

from crewcap.cli.context import Call
from crewcap.cli.runs.view import cost_of
from crewcap.core.budget import ALL, Balance, Scope
from crewcap.core.exposure import Exposed, worst_case
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunId, RunState, Verdict
from crewcap.stores import Totals

_NO_SCOPES = ("all", "run", "issue", "repo", "key")  # kinds of budgets for which a run need not be looked up

KnownScopes = MutableMapping[RunId, tuple[Scope, ...]]


def worst_of(
    call: Call,
    runs: Iterable[tuple[Run, Totals]],
    balances: Sequence[Balance],
    now: datetime,
    known: KnownScopes | None = None,
) -> Money:
    """The most that these runs may still cost, within the budgets that they share; `known` spares a second look-up."""
    known = {} if known is None else known
    can_spend = [(run, totals) for run, totals in runs if run.state != RunState.WAITING or goes_on_alone(run)]
    exposed = [
        Exposed(
            left=Money(max(0, (run.cap - cost_of(totals)).nano)),
            scopes=_scopes(call, run, balances, known),
            until=now + timedelta(seconds=run.timeout_s),
        )
        for run, totals in can_spend
    ]
    return worst_case(exposed, balances)


def goes_on_alone(run: Run) -> bool:
    """Whether a run that waits goes on without anybody's word: when its provider serves again, or a window opens."""
    if run.waits_for:
        return run.hosted and run.waits_for != "answer"
    return run.verdict == Verdict.PROVIDER_ERROR


def _scopes(call: Call, run: Run, balances: Sequence[Balance], known: KnownScopes) -> tuple[Scope, ...]:
    """What its money counts in; of a run of an earlier version its key knows, and is asked where that matters."""
    own = Scope(f"run:{run.id}")
    if run.scopes:
        return (own, *map(Scope, run.scopes))
    if run.id not in known and any(each.scope.partition(":")[0] not in _NO_SCOPES for each in balances):
        from crewcap.runner.access import scopes_kept  # noqa: PLC0415  (only where teams or users have budgets)

        if kept := scopes_kept(call.app.ledger, run):
            known[run.id] = kept
    plain = (own, Scope(f"issue:{run.issue.scope_name}"), Scope(f"repo:{run.repo}"), ALL)
    return known.get(run.id, plain)
