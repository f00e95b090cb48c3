"""Spend grouped by anything: bundles of closed requests in, lines of a report out.

A *bundle* is what some requests came to that are alike in everything that reports look at: the quarter of an hour
that they were booked in, their key (and so their scopes), model, price card, end, and how long their prompts were.
Stores add bundles up beforehand, so that a million requests are some ten thousand bundles; every sum is a sum of whole
numbers, and a report over bundles is the report over their requests, to the last unit.

Where the money of a bundle went is computed, not stored: tokens times the rates of its card, in pico-dollars. What is
left of the ledger's own number is the rounding up of each request, and less than a nano-dollar each. Where it is not
(several models in one request, audio tokens, a card that the price book has no more), the kinds are shares of the
ledger's number and are called *estimated*; money of which nothing is known stands under `other`.

A quarter of an hour is the largest stretch that never straddles a midnight: since 1972 every zone that is in use is a
whole number of quarters from UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from crewcap.core.budget import KeyId
from crewcap.core.money import PICO_PER_NANO, ZERO, Money
from crewcap.core.pricing import RateCard, Rates, Usage

QUARTER_S = 900
NONE = "(none)"
SIZES = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
"""Prompts above which some price list has other prices; `Bundle.size` counts how many of these a prompt is above."""
OWN = 100
"""Where a card has other limits than these, `size` is this and how many of *its* limits a prompt is above."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Bundle(NamedTuple):
    """Closed requests that are alike, added up. A tuple: reports read a hundred thousand of them."""

    quarter: int  # of an hour, since 1970; the earliest, where it was not asked for
    key: KeyId  # '' where it was not asked for
    provider: str
    model: str
    card: str
    kind: str  # settled, released, uncertain, reconciled
    size: int
    by_plan: bool
    subagent: bool
    pieces: str  # of each of its requests, as JSON
    requests: int
    spent: int  # nano-dollars, as all money here
    uncertain: int
    notional: int
    input: int
    cache_read: int
    write_5m: int
    write_1h: int
    output: int
    thinking: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Where money went, in pico-dollars; thinking is a part of output, `uncached` what it would have been without."""

    input: int = 0
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0
    fees: int = 0  # what is billed by the piece
    rounding: int = 0  # each request is rounded up to a nano-dollar
    other: int = 0  # nobody knows any more
    thinking: int = 0
    uncached: int = 0
    is_exact: bool = True

    @property
    def whole(self) -> int:
        """All of it: the ledger's own number."""
        return self.input + self.cache_read + self.write + self.output + self.fees + self.rounding + self.other

    @property
    def write(self) -> int:
        """Cache writes of both lifetimes."""
        return self.write_5m + self.write_1h

    @property
    def saved(self) -> Money:
        """What caching saved; negative where it cost."""
        return Money((self.uncached - self.whole + self.rounding) // PICO_PER_NANO)

    def __add__(self, other: Costs) -> Costs:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COSTS}
        return Costs(**sums, is_exact=self.is_exact and other.is_exact)


_COSTS = tuple(each.name for each in fields(Costs) if each.name != "is_exact")
KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "fees", "rounding", "other")
"""The kinds that together are all of the money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one group of requests came to."""

    keys: tuple[str, ...]  # by each dimension
    requests: int = 0
    spent: Money = ZERO  # measured
    uncertain: Money = ZERO
    held: Money = ZERO  # reserved for requests in flight; no part of the cost
    notional: Money = ZERO  # under a subscription; never summed with the others
    usage: Usage = field(default_factory=Usage)
    costs: Costs = field(default_factory=Costs)  # of what was settled
    plan_costs: Costs = field(default_factory=Costs)  # of what a subscription paid

    @property
    def cost(self) -> Money:
        """What is shown as cost (MONEY 1)."""
        return self.spent + self.uncertain

    @property
    def saved(self) -> Money:
        """What caching saved of the money that was settled."""
        return self.costs.saved

    def __add__(self, other: Line) -> Line:
        return Line(
            keys=self.keys,
            requests=self.requests + other.requests,
            spent=self.spent + other.spent,
            uncertain=self.uncertain + other.uncertain,
            held=self.held + other.held,
            notional=self.notional + other.notional,
            usage=_both(self.usage, other.usage),
            costs=self.costs + other.costs,
            plan_costs=self.plan_costs + other.plan_costs,
        )


KeyOf = Callable[[Bundle], str]
CardOf = Callable[[Bundle], RateCard | None]


def lines(bundles: Iterable[Bundle], by: Sequence[KeyOf], *, card_of: CardOf) -> dict[tuple[str, ...], Line]:
    """One line a group, in the order in which the groups were met."""
    groups: dict[tuple[str, ...], list[Bundle]] = {}
    for bundle in bundles:
        groups.setdefault(tuple([key_of(bundle) for key_of in by]), []).append(bundle)
    return {keys: line(members, keys=keys, card_of=card_of) for keys, members in groups.items()}


def line(bundles: Sequence[Bundle], *, keys: tuple[str, ...] = ("total",), card_of: CardOf) -> Line:
    """All of them as one line."""
    bundles = merged(bundles)
    sums = [sum(column) for column in zip(*(bundle[_FIRST:] for bundle in bundles), strict=True)] or [0] * 10
    requests, spent, uncertain, notional, input_, cache_read, write_5m, write_1h, output, thinking = sums
    split = [(bundle.by_plan, costs(bundle, card_of(bundle))) for bundle in bundles]
    return Line(
        keys=keys,
        requests=requests,
        spent=Money(spent),
        uncertain=Money(uncertain),
        notional=Money(notional),
        usage=Usage(
            input=input_,
            cache_read=cache_read,
            write_5m=write_5m,
            write_1h=write_1h,
            output=output,
            thinking=thinking,
            pieces=_pieces(bundles),
        ),
        costs=_sum([each for by_plan, each in split if not by_plan]),
        plan_costs=_sum([each for by_plan, each in split if by_plan]),
    )


_FIRST = Bundle._fields.index("requests")  # what is added up stands from here on
_ALIKE = Bundle._fields.index("provider")


def merged(bundles: Sequence[Bundle]) -> Sequence[Bundle]:
    """Those that are alike but for their time and their key, as one."""
    if len(bundles) < 2:
        return bundles
    found: dict[tuple[object, ...], list[Bundle]] = {}
    for bundle in bundles:
        found.setdefault(bundle[_ALIKE:_FIRST], []).append(bundle)
    if len(found) == len(bundles):
        return bundles
    return [_as_one(members) for members in found.values()]


def _as_one(alike: Sequence[Bundle]) -> Bundle:
    if len(alike) == 1:
        return alike[0]
    sums = [sum(column) for column in zip(*(bundle[_FIRST:] for bundle in alike), strict=True)]
    return Bundle._make((*alike[0][:_FIRST], *sums))


def costs(bundle: Bundle, card: RateCard | None) -> Costs:
    """Where a bundle's settled money went (a plan's: where the notional money did)."""
    money = (bundle.notional if bundle.by_plan else bundle.spent) * PICO_PER_NANO
    rates = rates_of(card, bundle.size) if card is not None else None
    if not money:
        return _NOTHING
    if rates is None or card is None:
        return Costs(other=money, uncached=money, is_exact=False)
    tokens = {
        "input": bundle.input * rates.input,
        "cache_read": bundle.cache_read * rates.cache_read,
        "write_5m": bundle.write_5m * rates.write_5m,
        "write_1h": bundle.write_1h * rates.write_1h,
        "output": bundle.output * rates.output,
        "fees": bundle.requests * _fees(bundle.pieces, card),
    }
    whole = sum(tokens.values())
    prompt = bundle.input + bundle.cache_read + bundle.write_5m + bundle.write_1h
    thinking = bundle.thinking * rates.output
    uncached = prompt * rates.input + tokens["output"] + tokens["fees"]
    if 0 <= money - whole < max(1, bundle.requests) * PICO_PER_NANO:
        return Costs(**tokens, rounding=money - whole, thinking=thinking, uncached=uncached, is_exact=True)
    if not whole:
        return Costs(other=money, uncached=money, is_exact=False)
    shares = {kind: pico * money // whole for kind, pico in tokens.items()}
    return Costs(
        **shares,
        rounding=money - sum(shares.values()),
        thinking=thinking * money // whole,
        uncached=uncached * money // whole,
        is_exact=False,
    )


def rates_of(card: RateCard, size: int) -> Rates | None:
    """The rates that prompts of this size met; None where the card has a limit that sizes do not tell apart."""
    if size >= OWN:
        own = (card.rates, *(tier.rates for tier in card.tiers))
        return own[size - OWN] if size - OWN < len(own) else None
    low, high = (0, *SIZES)[size], (*SIZES, None)[size]
    found = card.rates
    for tier in card.tiers:
        if tier.above <= low and size:
            found = tier.rates
        elif high is None or tier.above < high:
            return None
    return found


def at(quarter: int) -> datetime:
    """When a quarter of an hour begins."""
    return _EPOCH + timedelta(seconds=quarter * QUARTER_S)


def quarter_of(moment: datetime) -> int:
    """The quarter of an hour that an instant falls in."""
    return (moment - _EPOCH) // timedelta(seconds=QUARTER_S)


def sorted_lines(found: Mapping[tuple[str, ...], Line], *, in_time: Sequence[bool]) -> tuple[Line, ...]:
    """Calendar groups in their order, all others dearest first; within each group of the first dimension again."""
    sums: dict[tuple[str, ...], int] = {}
    for keys, each in found.items():
        for depth in range(1, len(keys) + 1):
            sums[keys[:depth]] = sums.get(keys[:depth], 0) + each.cost.nano + each.notional.nano

    def order(each: Line) -> tuple[tuple[int, str], ...]:
        return tuple(
            (0 if is_time else -sums[each.keys[: depth + 1]], each.keys[depth]) for depth, is_time in enumerate(in_time)
        )

    return tuple(sorted(found.values(), key=order))


def top(ordered: Sequence[Line], number: int) -> tuple[Line, ...]:
    """The first so many, and all others as one line, so that nothing is missing from the sum."""
    if len(ordered) <= number:
        return tuple(ordered)
    rest = add_up(ordered[number:], keys=(f"({len(ordered) - number} others)", *("" for _ in ordered[0].keys[1:])))
    return (*ordered[:number], rest)


def add_up(some: Iterable[Line], *, keys: tuple[str, ...] = ("total",)) -> Line:
    """Lines as one."""
    whole = Line(keys=keys)
    for each in some:
        whole += each
    return whole


def _sum(split: Sequence[Costs]) -> Costs:
    if len(split) == 1:
        return split[0]
    sums = {name: sum(getattr(each, name) for each in split) for name in _COSTS}
    return Costs(**sums, is_exact=all(each.is_exact for each in split))


def _pieces(bundles: Sequence[Bundle]) -> dict[str, int]:
    found: dict[str, int] = {}
    for bundle in bundles:
        if len(bundle.pieces) > 2:
            for name, count in _read(bundle.pieces):
                found[name] = found.get(name, 0) + count * bundle.requests
    return found


def _fees(pieces: str, card: RateCard) -> int:
    return sum(count * card.per_piece.get(name, 0) for name, count in _read(pieces)) if len(pieces) > 2 else 0


@lru_cache(1_024)
def _read(pieces: str) -> tuple[tuple[str, int], ...]:
    return tuple(json.loads(pieces).items())


def _both(one: Usage, other: Usage) -> Usage:
    names = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
    pieces = {name: one.pieces.get(name, 0) + other.pieces.get(name, 0) for name in {**one.pieces, **other.pieces}}
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names}, pieces=pieces)


_NOTHING = Costs()
