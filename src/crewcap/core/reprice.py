"""What requests would have cost by the prices that are known today: differences, and the corrections that book them.

A price that was wrong when a request was settled stays wrong in its entry, for an entry tells what was believed. What
is known better now is booked beside it: one movement a request, the difference alone, in the windows of the request.
Done again it finds no difference and books nothing; after another change of prices it corrects what was corrected.

Only money that a price made can be corrected: never a hold in flight or uncertain, nothing that was closed by word, and
nothing that a plan paid. Where it cannot be told what a request would cost, it is left as it is and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal, Protocol

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money, total
from crewcap.core.report import Spending

LeftOut = Literal["uncertain", "by word", "by plan", "unpriced", "untold", "unlike its card"]
LEFT_OUT: dict[LeftOut, str] = {
    "uncertain": "no answer told what it cost",
    "by word": "closed by somebody's word, not by a price",
    "by plan": "paid by a plan",
    "unpriced": "has no price in today's table",
    "untold": "tier, speed or region of it are not known any more",
    "unlike its card": "cost something else than its card says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is booked beside one request."""

    hold: HoldId
    before: Money  # what it cost when this was computed: where it costs something else by now, nothing is booked
    after: Money
    card: str  # that it was computed by
    reason: str


class Booked(Spending, Protocol):
    """A closed request with all that its price rests on; a store's entry is one."""

    @property
    def hold(self) -> HoldId: ...  # noqa: D102  (a field)
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def closed_at(self) -> datetime: ...  # noqa: D102
    @property
    def card(self) -> str: ...  # noqa: D102
    @property
    def card_now(self) -> str: ...  # noqa: D102
    @property
    def corrected(self) -> Money: ...  # noqa: D102
    @property
    def raw_usage(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """One request at the cost that is booked, and at the cost of today's prices."""

    hold: HoldId
    at: datetime
    model: str
    before: Money
    after: Money
    old_card: str  # '' where it was settled without one
    card: str

    @property
    def difference(self) -> Money:
        """Above zero where it was booked too low."""
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Requests of one day and model that cost something else today."""

    day: str
    model: str
    requests: int
    before: Money
    after: Money

    @property
    def difference(self) -> Money:
        """Above zero where they were booked too low."""
        return self.after - self.before


def lines(found: Iterable[Repriced], *, zone: tzinfo) -> tuple[Line, ...]:
    """Those that differ, by day and model."""
    groups: dict[tuple[str, str], list[Repriced]] = {}
    for each in found:
        if each.difference:
            groups.setdefault((f"{each.at.astimezone(zone):%Y-%m-%d}", each.model), []).append(each)
    return tuple(_line(day, model, groups[day, model]) for day, model in sorted(groups))


def whole(some: Sequence[Line]) -> Line:
    """All of them as one."""
    return Line(
        day="total",
        model="",
        requests=sum(each.requests for each in some),
        before=total(each.before for each in some),
        after=total(each.after for each in some),
    )


def corrections(found: Iterable[Repriced], *, word: str, table: str) -> list[Correction]:
    """What is to be booked, each with whose word it was and which cards were compared."""
    return [
        Correction(
            hold=each.hold,
            before=each.before,
            after=each.after,
            card=each.card,
            reason=f"{word}: card {each.old_card or 'unknown'} -> {each.card}, price table {table}",
        )
        for each in found
        if each.difference and each.after >= ZERO
    ]


def _line(day: str, model: str, members: Sequence[Repriced]) -> Line:
    return Line(
        day=day,
        model=model,
        requests=len(members),
        before=total(each.before for each in members),
        after=total(each.after for each in members),
    )
