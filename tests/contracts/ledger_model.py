"""The ledger as a pure model: facts in lists, every balance added up anew each time it is asked for.

It shares with the product the law on values (`admit`) and the calendar (`span_of`), and nothing else. A store is
right when it decides and counts as this does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.contracts.limits_model import RANK, LimitsModel

from crewcap.core.budget import Balance, Decision, Denied, Granted, Scope, Span, Window, admit, span_of
from crewcap.core.money import Money


@dataclass
class ModelHold:
    """One hold with all that became of it."""

    id: str
    scopes: tuple[Scope, ...]
    booked_at: datetime
    held: int
    first: int
    uncertain: int = 0
    spent: int = 0
    shrunk: bool = False
    closed: bool = False
    bound: int = 0  # tokens: the most that it can use
    told: int = 0  # tokens that its answer told of
    is_proven: bool = False  # its tokens are those that were told
    is_priced: bool = False  # a price made what it cost, and nothing of it is uncertain


@dataclass
class ModelKey:
    """A key with what it may do."""

    scopes: tuple[Scope, ...]
    max_turns: int | None = None
    revoked: bool = False
    run: str = ""
    made_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass
class LedgerModel:
    """Everything that was said and done."""

    zone: str = "UTC"
    keys: dict[str, ModelKey] = field(default_factory=dict)
    holds: dict[str, ModelHold] = field(default_factory=dict)
    said: dict[tuple[Scope, Window], dict[str, int]] = field(default_factory=dict)
    old_zone: list[tuple[Scope, Window, Span]] = field(default_factory=list)
    newest: datetime | None = None
    limits: LimitsModel = field(default_factory=LimitsModel)

    def reserve(self, hold: str, key: str, amount: int, now: datetime, *, bound: int = 0) -> Decision:
        """Decide as the law says."""
        holder, at = self.keys[key], self.at(now)
        if holder.revoked:
            return Denied(code="key_revoked", message="")
        turns = sum(key_scope in made.scopes for made in self.holds.values()) if (key_scope := holder.scopes[0]) else 0
        if holder.max_turns is not None and turns >= holder.max_turns:
            return Denied(code="turn_limit", message="")
        beside = self.limits.decide(self, holder.scopes, bound, now)
        if isinstance(beside, Denied):
            return beside
        refused = admit(Money(amount), self.balances(now, holder.scopes))
        if refused is not None:
            return refused
        if beside is not None:
            return beside
        self.book(hold, key, amount, at, bound)
        self.limits.sent(holder.scopes, now)
        return Granted(hold=hold, amount=Money(amount))  # type: ignore[arg-type]  # a plain text is enough here

    def book(self, hold: str, key: str, amount: int, at: datetime, bound: int) -> None:
        """A hold was granted."""
        self.newest = at
        self.holds[hold] = ModelHold(hold, self.keys[key].scopes, at, amount, amount, bound=bound)

    def shrink(self, hold: str, to: int, now: datetime) -> None:
        """Early release."""
        it = self.holds[hold]
        if not it.closed and not it.shrunk and 0 <= to < it.held:
            it.held, it.shrunk = to, True
            self.newest = self.at(now)

    def settle(
        self,
        hold: str,
        spent: int,
        uncertain: int,
        now: datetime,
        *,
        told: int = 0,
        cached: int = 0,
        lost: bool = False,
        priced: bool = False,
    ) -> bool:
        """Close; `told` are all tokens of its answer, `cached` those of them that were read from a cache."""
        it = self.holds[hold]
        if it.closed:
            return False
        it.held, it.spent, it.uncertain, it.closed = 0, spent, uncertain, True
        it.told, it.is_proven = told, not (lost or uncertain)
        it.is_priced = priced and not uncertain
        self.newest = self.at(now)
        self.limits.used(it.scopes, told - cached, now)
        return True

    def lose_all(self, now: datetime) -> None:
        """The gateway died or stopped."""
        for it in self.open():
            self.settle(it.id, 0, it.held, now, lost=True)

    def reconcile(self, hold: str, cost: int, now: datetime) -> None:
        """Somebody's word."""
        it = self.holds[hold]
        it.uncertain, it.spent = 0, it.spent + cost
        it.is_proven = not cost
        self.newest = self.at(now)

    def correct(self, hold: str, before: int, after: int, now: datetime) -> bool:
        """Other prices, of a request that costs what they were compared with."""
        it = self.holds[hold]
        if it.spent != before or after == before:
            return False
        it.spent = after
        self.newest = self.at(now)
        return True

    def say(self, scope: Scope, window: Window, source: str, amount: int) -> None:
        """A limit."""
        self.said.setdefault((scope, window), {})[source] = amount

    def unsay(self, scope: Scope, window: Window, source: str) -> bool:
        """No limit."""
        words = self.said.get((scope, window), {})
        known = words.pop(source, None) is not None
        if not words:
            self.said.pop((scope, window), None)
            self.old_zone = [row for row in self.old_zone if row[:2] != (scope, window)]
        return known

    def sync(self, limits: Iterable[tuple[Scope, Window, int]], zone: str, now: datetime) -> None:
        """What the settings file says now."""
        if zone != self.zone:
            self.old_zone += [(scope, window, self.span(window, now)) for scope, window in self.said]
            self.limits.keep_windows(self, now)
            self.zone = zone
        lines = {(scope, window): amount for scope, window, amount in limits}
        for about in self.said.keys() - lines.keys():
            self.unsay(*about, "file")
        for about, amount in lines.items():
            self.say(*about, "file", amount)

    def balances(self, now: datetime, scopes: Iterable[Scope] | None = None) -> tuple[Balance, ...]:
        """Every limit in force, added up anew; those of the old zone's windows until they end."""
        wanted, at = None if scopes is None else set(scopes), self.at(now)
        rows = {(scope, window, self.span(window, now)) for scope, window in self.said}
        rows |= {row for row in self.old_zone if row[2].starts_at <= at < row[2].ends_at}
        return tuple(self._balance(*row) for row in rows if wanted is None or row[0] in wanted)

    def open(self) -> list[ModelHold]:
        """Holds in flight."""
        return [it for it in self.holds.values() if not it.closed]

    def uncertain(self) -> list[ModelHold]:
        """Holds that wait for a word."""
        return [it for it in self.holds.values() if it.uncertain]

    def priced(self) -> list[ModelHold]:
        """Closed holds whose cost a price made."""
        return [it for it in self.holds.values() if it.is_priced]

    def in_force(self, scope: Scope, window: Window) -> tuple[int, str]:
        """The strongest word."""
        words = self.said[scope, window]
        source = min(words, key=RANK.index)
        return words[source], source

    def _balance(self, scope: Scope, window: Window, span: Span) -> Balance:
        counted = [
            it for it in self.holds.values() if scope in it.scopes and span.starts_at <= it.booked_at < span.ends_at
        ]
        limit, source = self.in_force(scope, window)
        return Balance(
            scope=scope,
            window=window,
            label=span.label,
            limit=Money(limit),
            spent=Money(sum(it.spent for it in counted)),
            uncertain=Money(sum(it.uncertain for it in counted)),
            held=Money(sum(it.held for it in counted)),
            resets_at=None if window == "total" else span.ends_at,
            source=source,
        )

    def span(self, window: Window, now: datetime) -> Span:
        """The window of today's calendar."""
        return span_of(window, self.at(now), ZoneInfo(self.zone), self.zone)

    def at(self, now: datetime) -> datetime:
        """Window time."""
        return now if self.newest is None else max(now, self.newest)
