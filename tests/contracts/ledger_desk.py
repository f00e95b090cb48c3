"""A ledger with a boot and keys, and short words for what the contract's tests do with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, BootId, Busy, Decision, Denied, Granted, HoldId, KeyId, Refused, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import CountBalance, CountLimit, RateBalance, RateLimit
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.stores import Ledger, Limit, Settlement

REPO, TEAM, RUN = Scope("repo:acme/shop"), Scope("team:core"), Scope("run:r1")
SCOPES = (Scope("key:k1"), RUN, REPO, TEAM, ALL)

usd = Money.usd


class Desk:
    """A ledger with a boot and a key, and short words for what the tests do."""

    def __init__(self, ledger: Ledger, clocks: Clocks) -> None:
        self.ledger = ledger
        self.clocks = clocks
        self.boot: BootId = ledger.start_boot()
        self._names = (HoldId(f"hold-{number}") for number in count(1))

    def key(self, name: str = "k1", *, cap: str | None = None, scopes: tuple[Scope, ...] = SCOPES) -> VirtualKey:
        return self.run_key(name, "r1", cap=cap, scopes=scopes)

    def run_key(
        self,
        name: str,
        run: str,
        *,
        cap: str | None = None,
        scopes: tuple[Scope, ...] = SCOPES,
        lives: timedelta | None = None,
    ) -> VirtualKey:
        """A key of a run; of none where it has no name."""
        own = (Scope(f"key:{name}"), *scopes[1:])
        ends = None if lives is None else self.clocks.wall + lives
        key = VirtualKey(
            id=KeyId(name), hash=f"hash-{name}", scopes=own, created_at=self.clocks.wall, run=run, expires_at=ends
        )
        self.ledger.add_key(key, cap=None if cap is None else usd(cap))
        return key

    def limit(self, scope: Scope, amount: str, window: str = "total", source: str = "command") -> None:
        limit = Limit(scope=scope, window=window, amount=usd(amount), source=source)  # type: ignore[arg-type]  # short
        self.ledger.set_limit(limit)

    def rate(self, scope: Scope, kind: Any, value: int, source: Any = "command") -> None:
        self.ledger.set_rate(RateLimit(scope=scope, kind=kind, value=value, source=source))

    def count(self, scope: Scope, kind: Any, window: Any, value: int, source: Any = "command") -> None:
        self.ledger.set_count(CountLimit(scope=scope, kind=kind, window=window, value=value, source=source))

    def reserve(self, amount: str, key: str = "k1", *, hold: str = "", **more: Any) -> Decision:
        """An order of 1,000 + 2,000 tokens, if nothing else is said."""
        name = HoldId(hold) if hold else next(self._names)
        return self.ledger.reserve(replace(order(name, boot=self.boot, key=key, amount=usd(amount)), **more))

    def granted(self, amount: str, key: str = "k1") -> HoldId:
        decision = self.reserve(amount, key)
        assert isinstance(decision, Granted), decision
        return decision.hold

    def refused(self, amount: str, key: str = "k1") -> Refused:
        decision = self.reserve(amount, key)
        assert isinstance(decision, Refused), decision
        return decision

    def busy(self, key: str = "k1") -> Busy:
        decision = self.reserve("0.01", key)
        assert isinstance(decision, Busy), decision
        return decision

    def denied(self, amount: str = "0.01", key: str = "k1") -> Denied:
        decision = self.reserve(amount, key)
        assert isinstance(decision, Denied), decision
        return decision

    def settle(self, hold: HoldId, spent: str, *, uncertain: str = "0", **tokens: Any) -> bool:
        return self.ledger.settle(
            Settlement(hold=hold, kind="settled", spent=usd(spent), uncertain=usd(uncertain), usage=Usage(**tokens))
        )

    def lose(self, hold: HoldId, *, uncertain: str = "0") -> bool:
        """Its answer never came."""
        return self.ledger.settle(
            Settlement(hold=hold, kind="uncertain", spent=ZERO, uncertain=usd(uncertain), usage=Usage())
        )

    def left(self, scope: Scope, kind: str) -> int:
        """What is free of a rate."""
        (found,) = [one for one in self.ledger.rates([scope]) if one.kind == kind]
        assert isinstance(found, RateBalance)
        return found.left

    def used(self, scope: Scope, kind: str, window: str = "day") -> int:
        """What was used of a count, in the only window of it."""
        (found,) = [one for one in self.ledger.counts([scope]) if (one.kind, one.window) == (kind, window)]
        assert isinstance(found, CountBalance)
        return found.used

    def amounts(self, scope: Scope, window: str = "total") -> tuple[Money, Money, Money]:
        """Spent, uncertain, held."""
        (found,) = [it for it in self.ledger.all_balances() if (it.scope, it.window) == (scope, window)]
        return found.spent, found.uncertain, found.held
