"""What transcripts told, grouped by anything: sums in, rows out. Any grouping adds up to the same, to the last unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Literal, get_args

from crewcap.core.budget import span_of
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.report import NONE, add_up
from crewcap.core.transcripts import Sum

Grouping = Literal["day", "week", "month", "model", "repo", "session", "agent"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
IN_TIME = frozenset({"day", "week", "month"})
_LATEST_MS = 253_370_764_800_000  # the year 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What one group of messages came to."""

    key: str
    messages: int = 0
    unpriced: int = 0  # of these, that nobody priced; they are in no sum of money
    cost: Money = ZERO
    usage: Usage = field(default_factory=Usage)
    first_ms: int = 0
    last_ms: int = 0


def rows(sums: Iterable[Sum], *, by: Grouping, zone: tzinfo = UTC) -> tuple[UsageRow, ...]:
    """One row a group: calendar groups in their order, all others dearest first."""
    groups: dict[str, list[Sum]] = {}
    for each in sums:
        groups.setdefault(_key(each, by, zone), []).append(each)
    made = [whole(members, key=key) for key, members in groups.items()]
    if by in IN_TIME:
        return tuple(sorted(made, key=lambda row: row.key))
    return tuple(sorted(made, key=lambda row: (-row.cost.nano, row.key)))


def whole(sums: Iterable[Sum], *, key: str = "total") -> UsageRow:
    """All of them as one row."""
    members = tuple(sums)
    return UsageRow(
        key=key,
        messages=sum(each.messages for each in members),
        unpriced=sum(each.unpriced for each in members),
        cost=Money(sum(each.cost.nano for each in members)),
        usage=add_up(each.usage for each in members),
        first_ms=min((each.first_ms for each in members), default=0),
        last_ms=max((each.last_ms for each in members), default=0),
    )


def moment(at_ms: int) -> datetime:
    """A time that a transcript told; what no calendar has becomes the nearest that one has."""
    return datetime.fromtimestamp(max(0, min(at_ms, _LATEST_MS)) / 1_000, UTC)


def _key(each: Sum, by: Grouping, zone: tzinfo) -> str:
    match by:
        case "day" | "week" | "month":
            return span_of(by, moment(each.bucket_ms), zone, "").label.removesuffix("@")
        case "model":
            return each.model or NONE
        case "repo":
            return each.repo or NONE
        case "session":
            return each.session or NONE
        case "agent":
            return each.agent
