"""Whether a queued run may start now, and else what it waits for and when that opens.

Admission takes slots, not money: what a run spends is held request by request by the gateway. It only looks whether
the money will probably do. What a run is *expected* to cost is the median (p50) of its workflow's earlier runs, half
of its cap where there are none, and never more than its cap. A scope has room for one more run when

    left - the expected rest of the runs at work in it  >=  the expected rest of this run

where an expected rest is what is expected less what the scope's balances have counted already, and never below zero. A
run that has cost more than expected, and goes on, still needs something to be left.

Of several things that are in the way, the one that lasts longest is named: first what no clock opens (a word, room on
the disk, the provider), then what opens at an instant, the latest first, then what opens as soon as another run ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from enum import IntEnum

from crewcap.core.budget import ALL, Balance, Scope, Window
from crewcap.core.history import Job, quantile
from crewcap.core.hours import Hours
from crewcap.core.limits import CountBalance
from crewcap.core.money import ZERO, Money

PROVIDER, DISK, HOURS = "provider", "disk", "hours"
"""What a run may wait for that is no scope."""
_GIGABYTE = 1 << 30
_OTHERS = re.compile(r"\S+ runs? at work may need \S+ of it, ")
_FIGURE = re.compile(r"(?<![\w/:-])-?\$?\d[\d,.]*(?![\w/:-])")  # none that is part of a name
_IN: Mapping[Window, str] = {"total": "", "day": " today", "week": " this week", "month": " this month"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run at work, as far as others are concerned."""

    scopes: tuple[Scope, ...]
    cap: Money
    spent: Money = ZERO  # all that its scopes' balances have counted of it: with what is uncertain and what is held
    expected: Money | None = None  # the median of its workflow; None = there is no history

    @property
    def rest(self) -> Money:
        """What it is expected to cost from here on."""
        half = Money(-(-self.cap.nano // 2))
        return max(ZERO, min(half if self.expected is None else self.expected, self.cap) - self.spent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Running):
    """A queued run that would like to start, or to go on; its scopes nearest first."""

    hours: Hours | None = None  # when it may start; None = whenever
    zone: tzinfo = UTC  # whose wall clock its hours go by
    frozen: str = ""  # why its provider's key is out of order, if it is

    @property
    def need(self) -> Money:
        """What must be left for it: never nothing."""
        return max(self.rest, Money(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a queued run is looked at against: the same for all of them."""

    slots: Slots
    taken: Mapping[Scope, int]  # how many runs at work have each scope
    balances: Sequence[Balance]
    running: Sequence[Running]
    counts: Sequence[CountBalance] = ()  # `runs`, `tokens` and `hours` of windows
    disk_free: int  # bytes
    disk_floor: int

    def having(self, wish: Wish) -> Situation:
        """The same, once this run is at work as well."""
        taken = {**self.taken, **{scope: self.taken.get(scope, 0) + 1 for scope in wish.scopes}}
        return replace(self, taken=taken, running=(*self.running, wish))


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may start, as soon as it has its slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """It may not start yet."""

    reason: str  # "repo acme/shop has 2 of 2 slots"
    scope: str  # the scope that binds; or "hours", "disk", "provider"
    opens_at: datetime | None = None  # None = no clock opens it: another run's end, or a word


class _Until(IntEnum):
    """How long something is in the way."""

    A_RUN_ENDS = 0
    AN_INSTANT = 1
    FURTHER_NOTICE = 2


_Blocker = tuple[_Until, Queued, int]  # the last: by how much, where several last as long


def decide(wish: Wish, situation: Situation, *, now: datetime) -> Admitted | Queued:
    """Whether a run may start; of all slots, balances and counts those of its own scopes matter."""
    slots, mine = situation.slots.slots_of(wish.scopes), set(wish.scopes)
    balances = [balance for balance in situation.balances if balance.scope in mine]
    blockers = [
        *_frozen(wish.frozen),
        *_disk(situation),
        *_hours(wish, now),
        *(found for count in situation.counts if count.scope in mine for found in _count(count)),
        *(found for balance in balances for found in _money(wish, balance, situation.running)),
        *(found for scope, limit in slots.items() for found in _slot(scope, situation.taken.get(scope, 0), limit)),
    ]
    longest = max(blockers, key=_lasting, default=None)
    return Admitted() if longest is None else longest[1]


def expected_cost(past: Iterable[Job], workflow: str) -> Money | None:
    """The median of what a workflow's runs have cost; None where none has ended."""
    costs = [job.cost for job in past if job.workflow == workflow and job.is_run and job.is_over]
    return quantile(costs, 50) if costs else None


def kind_of(reason: str) -> str:
    """A reason without its figures: what stays the same while others at work spend."""
    return _FIGURE.sub("#", _OTHERS.sub("", reason))


def scope_in_words(scope: str) -> str:
    """A scope as a sentence has it: `repo acme/shop`."""
    return scope.replace(":", " ", 1)


def _lasting(blocker: _Blocker) -> tuple[int, float, int]:
    until, queued, short = blocker
    return until, queued.opens_at.timestamp() if queued.opens_at else 0.0, short


def _frozen(reason: str) -> Iterator[_Blocker]:
    if reason:
        yield _Until.FURTHER_NOTICE, Queued(reason=reason, scope=PROVIDER), 0


def _disk(situation: Situation) -> Iterator[_Blocker]:
    if situation.disk_free < situation.disk_floor:
        free, floor = _size(situation.disk_free), _size(situation.disk_floor)
        reason = f"the disk has {free} free, and no run starts below {floor}"
        yield _Until.FURTHER_NOTICE, Queued(reason=reason, scope=DISK), 0


def _hours(wish: Wish, now: datetime) -> Iterator[_Blocker]:
    if wish.hours is not None and not wish.hours.is_open(now, wish.zone):
        opens_at = wish.hours.opens_at(now, wish.zone)
        yield _Until.AN_INSTANT, Queued(reason=f"it may start at {wish.hours}", scope=HOURS, opens_at=opens_at), 0


def _slot(scope: Scope, used: int, limit: int) -> Iterator[_Blocker]:
    if used >= limit:
        reason = f"{scope_in_words(scope)} has {used:,} of {limit:,} slots"
        yield _Until.A_RUN_ENDS, Queued(reason=reason, scope=scope), 0


def _count(count: CountBalance) -> Iterator[_Blocker]:
    """Runs, tokens and hours are never given back but by a window's end."""
    if count.left > 0:
        return
    reason = f"{scope_in_words(count.scope)} has used its {count.limit:,} {count.kind}{_IN[count.window]}"
    opens_at = count.resets_at if count.limit else None
    yield _since(opens_at), Queued(reason=reason, scope=count.scope, opens_at=opens_at), 0


def _money(wish: Wish, balance: Balance, running: Sequence[Running]) -> Iterator[_Blocker]:
    """Where a balance has no room: who gives it back, and when."""
    others = [run.rest.nano for run in running if balance.scope in run.scopes and run.rest]
    short = Money(wish.need.nano + sum(others) - balance.left.nano)
    if short.nano <= 0:
        return
    opens_at = balance.resets_at if wish.need <= balance.limit else None
    may_come_back = opens_at is None and wish.need <= balance.left_when_idle  # if others cost less than expected
    until = _Until.A_RUN_ENDS if may_come_back else _since(opens_at)
    reason = _short(wish, balance, len(others), Money(sum(others)), short)
    yield until, Queued(reason=reason, scope=balance.scope, opens_at=opens_at), short.nano


def _short(wish: Wish, balance: Balance, count: int, others: Money, short: Money) -> str:
    at_work = f"{count:,} run{'' if count == 1 else 's'} at work may need {others} of it, " if count else ""
    return (
        f"{scope_in_words(balance.scope)} is {short} short{_IN[balance.window]}: "
        f"{balance.left} of {balance.limit} left, {at_work}this one about {wish.need}"
    )


def _since(opens_at: datetime | None) -> _Until:
    return _Until.FURTHER_NOTICE if opens_at is None else _Until.AN_INSTANT


def _size(size: int) -> str:
    return f"{max(0, size) * 10 // _GIGABYTE / 10:.1f} GiB"
