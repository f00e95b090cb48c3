"""Budgets: whether a request may be sent, decided on values.

A *scope* is what money is spent for (`all`, `repo:acme/shop`, `run:01J...`); a *window* is a stretch of calendar
(`total`, a day, a week, a month in a named zone). A *limit* is an amount for a scope and a window; a *balance* is
what has become of it:

    spent        settled, exact
    uncertain    sent, with no answer that tells its cost; charged until someone reconciles it
    held         promised to requests in flight

The law: no hold is granted that takes spent + uncertain + held over any limit in force. `admit` is that law on
values; a store asks it inside the transaction that writes the hold, unless one look of its own has shown that nothing
stands in the way, and a trigger in the database repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NewType

from crewcap.core.money import ZERO, Money
from crewcap.core.quick import quickly_made

Scope = NewType("Scope", str)
HoldId = NewType("HoldId", str)
BootId = NewType("BootId", str)
KeyId = NewType("KeyId", str)

Window = Literal["total", "day", "week", "month"]
WINDOWS: tuple[Window, ...] = ("total", "day", "week", "month")
RateKind = Literal["tpm", "rpm", "concurrent"]
CountKind = Literal["runs", "tokens", "hours"]
ALL = Scope("all")
SCOPE_KINDS = ("key", "team", "user", "repo", "issue", "run", "workflow")
_NEAREST_FIRST = ("key", "run", "issue", "workflow", "repo", "user", "team")

_SCOPE = re.compile(r"(?:all|(?:%s):[^\s\x00-\x1f\"']{1,200})\Z" % "|".join(SCOPE_KINDS))


class ScopeError(ValueError):
    """A scope is `all` or a kind and a name: `repo:acme/shop`, `team:core`, `issue:files/fix-login`."""


def parse_scope(text: str) -> Scope:
    """Read a scope as a user writes it; `ScopeError` names the kinds there are."""
    if not _SCOPE.match(text):
        raise ScopeError(
            f"{text[:60]!r} is not a scope; use all, or one of {', '.join(SCOPE_KINDS)} with a name: repo:acme/shop"
        )
    return Scope(text)


def lineage(key: KeyId, named: Iterable[Scope], *, user: str = "", teams: Iterable[str] = ()) -> tuple[Scope, ...]:
    """All scopes of a key: itself, what it was made for, whose it is, and everything. A scope implies its ancestors.

    `user` is who asked for it, "unknown" where nobody said; `teams` are those behind its users and repositories.
    """
    given = {*named, *(Scope(f"team:{team}") for team in teams)} - {ALL}
    if not any(scope.startswith("user:") for scope in given):
        given.add(Scope(f"user:{user or 'unknown'}"))
    inner = sorted(given, key=lambda scope: (_NEAREST_FIRST.index(scope.partition(":")[0]), scope))
    return (Scope(f"key:{key}"), *inner, ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One window of the calendar: its label and zone name it, its bounds are instants (end not included)."""

    window: Window
    label: str  # "2026-11", "2026-W47", "2026-11-22", "total"; with the zone: "2026-11@Europe/Berlin"
    starts_at: datetime
    ends_at: datetime


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One limit in force and what has become of it."""

    scope: Scope
    window: Window
    label: str
    limit: Money
    spent: Money
    uncertain: Money
    held: Money
    resets_at: datetime | None = None
    source: str = ""  # "file", "command", "run", "key", "default"
    version: int = 0  # rises with each change of the limit

    @property
    def left(self) -> Money:
        """What a new hold may take now; never below zero in what users see."""
        return Money(max(0, self.limit.nano - self.spent.nano - self.uncertain.nano - self.held.nano))

    @property
    def left_when_idle(self) -> Money:
        """What would be left if everything held came back."""
        return Money(max(0, self.limit.nano - self.spent.nano - self.uncertain.nano))


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The hold is in the books; the request may be sent."""

    hold: HoldId
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One limit has no room. `binding` is the one with the least left."""

    binding: Balance
    needed: Money
    can_wait: bool  # the missing money is only held: it may come back
    balances: tuple[Balance, ...] = ()  # all limits in force that were checked
    kept: Money = ZERO  # what had to stay free of a run's own cap besides (the final slice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The key may not be used: unknown, expired, revoked, its run over, out of turns, the clock or the key frozen.

    `count_limit`: a count (runs, tokens, hours) of one of its scopes is used up until its window ends.
    """

    code: Literal[
        "key_unknown", "key_expired", "key_revoked", "turn_limit", "clock", "model_not_allowed", "count_limit"
    ]
    message: str
    kind: CountKind | None = None  # of `count_limit`: a closer bound of a request may fit into what is left of tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Money is there, and a limit beside it has no room at this moment; it will have. Nothing is held."""

    scope: Scope
    kind: RateKind | CountKind  # "tokens" where those that are missing are only held by requests in flight
    limit: int  # of that kind: tokens or requests a minute, requests at once
    retry_after_s: float  # ask again then; requests at once: whenever one ends, and then at the latest


Decision = Granted | Refused | Denied | Busy


def admit(amount: Money, balances: Sequence[Balance], *, keep: Money = ZERO) -> Refused | None:
    """The law: None when `amount` may be held in every balance, else why not.

    `keep` must stay free of a run's own cap besides. A refusal can wait only when *every* limit that lacks room would
    have it with nothing held.
    """
    short = [balance for balance in balances if _wanted(amount, balance, keep) > balance.left]
    if not short:
        return None
    binding = min(short, key=lambda balance: balance.left.nano - _wanted(ZERO, balance, keep).nano)
    can_wait = all(_wanted(amount, balance, keep) <= balance.left_when_idle for balance in short)
    kept = _wanted(ZERO, binding, keep)
    return Refused(binding=binding, needed=amount, can_wait=can_wait, balances=tuple(balances), kept=kept)


def room(balances: Iterable[Balance], *, keep: Money = ZERO) -> Money | None:
    """The most that one more hold may take; None where nothing limits it."""
    free = (balance.left.nano - _wanted(ZERO, balance, keep).nano for balance in balances)
    least = min(free, default=None)
    return None if least is None else Money(max(0, least))


def _wanted(amount: Money, balance: Balance, keep: Money) -> Money:
    """What must be free of a balance; the slice to be kept is the run's own cap's affair."""
    return amount + keep if balance.window == "total" and balance.scope.startswith("run:") else amount


def span_of(window: Window, at: datetime, zone: tzinfo, zone_name: str) -> Span:
    """The window of the calendar that an instant falls in, by the zone's own midnights; its bounds are in UTC.

    A day is as long as its zone makes it: 23 or 25 hours where clocks change. A midnight that a zone leaves out is
    the instant at which it does so; of one that comes twice, the first.
    """
    if window == "total":
        return Span(window=window, label="total", starts_at=_EVER, ends_at=_NEVER)
    local = at.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window == "day":
        start, label = midnight, f"{local:%Y-%m-%d}"
        end = _midnight_after(start, days=1)
    elif window == "week":
        start = _midnight_after(midnight, days=-local.weekday())
        year, week, _ = local.isocalendar()
        label, end = f"{year}-W{week:02d}", _midnight_after(start, days=7)
    else:
        start = midnight.replace(day=1)
        label = f"{local:%Y-%m}"
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    bounds = (start.astimezone(UTC), end.astimezone(UTC))
    return Span(window=window, label=f"{label}@{zone_name}", starts_at=bounds[0], ends_at=bounds[1])


def _midnight_after(start: datetime, *, days: int) -> datetime:
    """The same wall clock some days on: aware arithmetic within one zone is on the wall clock."""
    return start + timedelta(days=days)


_EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_NEVER = datetime.fromisoformat("9999-01-01T00:00:00+00:00")
