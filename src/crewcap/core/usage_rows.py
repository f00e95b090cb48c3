"""What transcripts told, grouped by anything: sums in, rows out. Any grouping adds up to the same, to the last unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from operator import add, attrgetter
from typing import Literal, get_args

from crewcap.core.budget import span_of
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.report import NONE
from crewcap.core.transcripts import Sum

_COUNTS = attrgetter("input", "cache_read", "write_5m", "write_1h", "output", "thinking")

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
    messages = unpriced = nano = 0
    tokens = [0] * 6
    pieces: Counter[str] = Counter()
    first, last = [], []
    for each in sums:
        messages += each.messages
        unpriced += each.unpriced
        nano += each.cost.nano
        tokens = [*map(add, tokens, _COUNTS(each.usage))]
        if each.usage.pieces:
            pieces.update(each.usage.pieces)
        first.append(each.first_ms)
        last.append(each.last_ms)
    fresh, read, short, long, output, thinking = tokens
    usage = Usage(
        input=fresh,
        cache_read=read,
        write_5m=short,
        write_1h=long,
        output=output,
        thinking=thinking,
        pieces=dict(pieces),
    )
    return UsageRow(
        key=key,
        messages=messages,
        unpriced=unpriced,
        cost=Money(nano),
        usage=usage,
        first_ms=min(first, default=0),
        last_ms=max(last, default=0),
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
