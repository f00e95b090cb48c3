"""What open runs may still cost together, if all goes wrong.

Each run can spend what its own cap and every budget above it leave. Together they can spend no more than the budgets
that they share leave. A budget whose window ends before the runs do begins anew, so it allows what is left of it and
one whole amount more.

Runs share budgets in several ways at once: by repository, by user, by team, all of them together. The runs are put in
groups in each of these ways, every way gives a sum that cannot be exceeded, and the smallest sum counts. It is
never below what can happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from crewcap.core.budget import Balance, Scope
from crewcap.core.money import ZERO, Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A run that may still cost something."""

    left: Money  # of its own cap; what is held for requests in flight is not spent yet, and counts as left
    scopes: tuple[Scope, ...]
    until: datetime  # when it is over at the latest


def worst_case(runs: Iterable[Exposed], balances: Iterable[Balance]) -> Money:
    """The most that these runs may still cost, all together."""
    exposed = list(runs)
    if not exposed:
        return ZERO
    allowed = _allowed(balances, until=max(run.until for run in exposed))
    alone = [(run.scopes, min([run.left.nano, *_of(run.scopes, allowed)])) for run in exposed]
    kinds = {_kind(scope) for scope in allowed}
    return Money(min([sum(most for _, most in alone), *(_by(kind, alone, allowed) for kind in kinds)]))


def _allowed(balances: Iterable[Balance], *, until: datetime) -> Mapping[Scope, int]:
    """What each scope has left until then, by the tightest of its windows."""
    found: dict[Scope, int] = {}
    for balance in balances:
        begins_anew = balance.resets_at is not None and balance.resets_at <= until
        left = balance.left_when_idle.nano + (balance.limit.nano if begins_anew else 0)
        found[balance.scope] = min(left, found.get(balance.scope, left))
    return found


def _of(scopes: Iterable[Scope], allowed: Mapping[Scope, int]) -> list[int]:
    return [allowed[scope] for scope in scopes if scope in allowed]


def _by(kind: str, alone: Sequence[tuple[tuple[Scope, ...], int]], allowed: Mapping[Scope, int]) -> int:
    """The sum with the runs in groups of this kind; a run without such a budget stands alone."""
    groups: dict[Scope, int] = {}
    rest = 0
    for scopes, most in alone:
        group = next((scope for scope in scopes if _kind(scope) == kind and scope in allowed), None)
        if group is None:
            rest += most
        else:
            groups[group] = groups.get(group, 0) + most
    return rest + sum(min(most, allowed[group]) for group, most in groups.items())


def _kind(scope: Scope) -> str:
    return scope.partition(":")[0]
