"""Spend grouped by anything: closed requests in, rows out.

A row is a sum of requests and nothing is rounded twice, so the rows of any grouping add up to the same total, to the
last unit. What belongs to no team, no issue, ... is a row of its own and not left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from operator import attrgetter
from typing import Literal, Protocol, get_args

from crewcap.core.budget import Scope, Window, span_of
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, Rates, Usage

Grouping = Literal["day", "week", "month", "run", "issue", "repo", "team", "user", "model", "workflow"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
NONE = "(none)"

_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
_COUNTS = attrgetter(*_KINDS)
_IN_TIME: tuple[Window, ...] = ("day", "week", "month")


class Spending(Protocol):
    """A closed request, as reports read it; a store's entry is one."""

    @property
    def run(self) -> str: ...  # noqa: D102  (a field)
    @property
    def scopes(self) -> tuple[Scope, ...]: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def provider(self) -> str: ...  # noqa: D102
    @property
    def spent(self) -> Money: ...  # noqa: D102
    @property
    def uncertain(self) -> Money: ...  # noqa: D102
    @property
    def notional(self) -> Money: ...  # noqa: D102
    @property
    def usage(self) -> Usage: ...  # noqa: D102
    @property
    def booked_at(self) -> datetime: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one group of requests came to."""

    key: str
    requests: int = 0
    spent: Money = ZERO
    uncertain: Money = ZERO
    notional: Money = ZERO  # under a subscription; never summed with the others
    usage: Usage = field(default_factory=Usage)

    @property
    def cost(self) -> Money:
        """What is shown as cost (MONEY 1)."""
        return self.spent + self.uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What settled money went for, by kind of token; the parts add up to what was spent."""

    input: Money = ZERO
    cache_read: Money = ZERO
    cache_write: Money = ZERO
    output: Money = ZERO  # thinking included
    thinking: Money = ZERO  # the part of `output` that was thinking
    other: Money = ZERO  # fees, and requests whose card is not known any more
    without_caching: Money = ZERO  # what the same tokens would have cost

    @property
    def saved(self) -> Money:
        """What caching saved; negative where it cost."""
        return self.without_caching - (self.input + self.cache_read + self.cache_write + self.output + self.other)


def rows(entries: Iterable[Spending], *, by: Grouping, zone: tzinfo) -> tuple[Row, ...]:
    """One row a group: calendar groups in their order, all others dearest first."""
    groups: dict[str, list[Spending]] = {}
    for entry in entries:
        groups.setdefault(key_of(entry, by=by, zone=zone), []).append(entry)
    made = [total(members, key=key) for key, members in groups.items()]
    if by in _IN_TIME:
        return tuple(sorted(made, key=lambda row: row.key))
    return tuple(sorted(made, key=lambda row: (-row.cost.nano, row.key)))


def total(entries: Sequence[Spending], *, key: str = "total") -> Row:
    """All of them as one row."""
    return Row(
        key=key,
        requests=len(entries),
        spent=Money(sum(entry.spent.nano for entry in entries)),
        uncertain=Money(sum(entry.uncertain.nano for entry in entries)),
        notional=Money(sum(entry.notional.nano for entry in entries)),
        usage=add_up(entry.usage for entry in entries),
    )


def add_up(usages: Iterable[Usage]) -> Usage:
    """The tokens and pieces of several answers."""
    every = tuple(usages)
    sums = [sum(column) for column in zip(*map(_COUNTS, every), strict=True)] or [0] * len(_KINDS)
    pieces = _pieces(usage.pieces for usage in every if usage.pieces)
    apart = _pieces(usage.apart for usage in every if usage.apart)
    return Usage(**dict(zip(_KINDS, sums, strict=True)), pieces=pieces, apart=apart)


def _pieces(some: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What is counted by name, added up."""
    found: Counter[str] = Counter()
    for each in some:
        found.update(each)
    return dict(found)


def key_of(entry: Spending, *, by: Grouping, zone: tzinfo) -> str:
    """The group that a request belongs to."""
    match by:
        case "day" | "week" | "month":
            return span_of(by, entry.booked_at, zone, "").label.removesuffix("@")
        case "run":
            return entry.run or NONE
        case "model":
            return entry.model or NONE
        case _:
            prefix = f"{by}:"
            return next((scope.removeprefix(prefix) for scope in entry.scopes if scope.startswith(prefix)), NONE)


def parts(entries: Iterable[Spending], *, card_of: Callable[[Spending], RateCard | None]) -> Parts:
    """What the settled money went for.

    Each request's money is shared out by what its tokens cost on its card, so that the parts stay true to the ledger
    where a factor (region, speed) was multiplied into every rate.
    """
    sums = dict.fromkeys(("input", "cache_read", "cache_write", "output", "thinking", "other", "without_caching"), 0)
    for entry in entries:
        for kind, nano in _shares(entry, card_of(entry)).items():
            sums[kind] += nano
    return Parts(**{kind: Money(nano) for kind, nano in sums.items()})


def what_if(entries: Iterable[Spending], card: RateCard) -> Money:
    """What the same tokens would cost on another card. Another model would use others: a bound, not a promise."""
    return Money(sum(Money.from_pico(card.rates_for(e.usage.prompt).pico(e.usage)).nano for e in entries))


def filled(part: int, whole: int, width: int) -> int:
    """Cells of a bar: what is not nothing shows, what is too much does not run over."""
    if whole <= 0:
        return width if part > 0 else 0
    return min(width, max(1 if part > 0 else 0, (2 * part * width + whole) // (2 * whole)))


def _shares(entry: Spending, card: RateCard | None) -> Mapping[str, int]:
    spent, usage = entry.spent.nano, entry.usage
    rates = card.rates_for(usage.prompt) if card is not None else None
    whole = rates.pico(usage) if rates is not None else 0
    if rates is None or whole == 0:
        return {"other": spent, "without_caching": spent}
    by_kind = {
        "cache_read": usage.cache_read * rates.cache_read,
        "cache_write": usage.write_5m * rates.write_5m + usage.write_1h * rates.write_1h,
        "output": usage.output * rates.output,
    }
    shares = {kind: spent * pico // whole for kind, pico in by_kind.items()}
    shares["input"] = spent - sum(shares.values())
    shares["thinking"] = spent * usage.thinking * rates.output // whole
    shares["without_caching"] = spent * _uncached(usage, rates) // whole
    return shares


def _uncached(usage: Usage, rates: Rates) -> int:
    """Pico-dollars of the same request with every prompt token at the plain input rate."""
    return usage.prompt * rates.input + usage.output * rates.output
