"""Whether a queued run may start now: slots, money, hours, room on the disk; else what it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crewcap.core.budget import ALL, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many runs may be at work at once, by scope; 0 = as many as there are."""

    all: int = 8
    team: int = 0  # each
    repo: int = 4  # each
    named: Mapping[Scope, int] = field(default_factory=dict)  # for one scope, instead of these

    def slots_of(self, scopes: Iterable[Scope]) -> Mapping[Scope, int]:
        """Those of a run's scopes that have a limit, each with it, nearest first as they were given."""
        found = {scope: self.named.get(scope, self._usual(scope)) for scope in scopes}
        return {scope: limit for scope, limit in found.items() if limit}

    def _usual(self, scope: Scope) -> int:
        if scope == ALL:
            return self.all
        return {"team": self.team, "repo": self.repo}.get(scope.partition(":")[0], 0)
