"""What uncertain holds can have cost at most, by a provider's own usage report.

A report tells tokens by model and by a span of time (a minute, if it was asked so). It is exact for a key that nobody
else uses. Then, for one model and for a stretch of time that no request of ours reaches across,

    cost of the uncertain holds in it  =  what the report has  -  what is proved in the books

A request may be told in any span from its sending to its end, and some time later where its connection was cut: the
provider may have written on. So each request takes up all of those spans, and a *stretch* is a row of spans that
requests link. What a stretch has too much is divided over its uncertain holds in proportion to what each is charged:
their sum is what the report says, which of them it was it does not say.

Everything that is not known is taken at its most: kinds of tokens are compared one by one, none below zero; tokens
are priced on the dearest card that the report leaves open. A stretch is left alone where the report does not cover it
to the end, where a request of it is still under way, or where the report has usage at that time that no request of
ours explains: an answer may have come from another model than the one that was asked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money, total
from crewcap.core.pricing import Modifiers, RateCard, UnknownPrice, Usage

SKEW = timedelta(minutes=1)  # between our clock and the provider's
LATE = timedelta(minutes=10)  # a provider writes on, and reports, so long after an answer was cut
LONGEST = timedelta(hours=2)  # one answer; holds of a gateway that died are closed much later
FRESH = timedelta(minutes=10)  # the end of a report is not complete yet

NOTHING = Usage()

Cards = Callable[[str, datetime, Modifiers], RateCard]
"""The card of a model at a time; `UnknownPrice` where nobody told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One line of a report."""

    starts_at: datetime
    ends_at: datetime
    model: str  # full id
    usage: Usage
    modifiers: tuple[Modifiers, ...] = (Modifiers(),)  # every one that the line may have been billed at
    most_prompt: int | None = None  # tokens; no request of this line was larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A provider's report: the spans that it tells of, also the empty ones, and its lines."""

    spans: tuple[tuple[datetime, datetime], ...]
    lines: tuple[Billed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """One request as the books have it."""

    hold: HoldId
    model: str  # full id
    sent_at: datetime
    closed_at: datetime | None  # None: still under way
    proved: Usage = NOTHING  # tokens that are settled for good
    by_word: Money = ZERO  # settled by somebody's word, in tokens that nobody told
    uncertain: Money = ZERO

    @property
    def reach(self) -> tuple[datetime, datetime]:
        """The time in which a provider may have told it."""
        longest = self.sent_at + LONGEST
        ended = longest if self.closed_at is None else min(self.closed_at, longest)
        return self.sent_at - SKEW, ended + (LATE if self.uncertain or self.closed_at is None else SKEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """An uncertain hold and what it is closed at."""

    hold: HoldId
    cost: Money
    was: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An uncertain hold that the report does not settle."""

    hold: HoldId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """Usage in the report that no request in the books can have caused."""

    model: str
    starts_at: datetime
    ends_at: datetime
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a report settles, what it leaves, and what it knows that the books do not."""

    closings: tuple[Closing, ...] = ()
    kept: tuple[Kept, ...] = ()
    unexplained: tuple[Unexplained, ...] = ()

    @property
    def cost(self) -> Money:
        """What the closed holds cost together."""
        return total(closing.cost for closing in self.closings)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Linked spans of one model, with everything in them."""

    model: str
    starts_at: datetime
    ends_at: datetime
    lines: tuple[Billed, ...]
    booked: tuple[Booked, ...]

    @property
    def uncertain(self) -> list[Booked]:
        return [one for one in self.booked if one.uncertain]

    def overlaps(self, other: _Stretch) -> bool:
        return self.starts_at < other.ends_at and other.starts_at < self.ends_at


def plan(report: Report, booked: Sequence[Booked], cards: Cards) -> Plan:
    """Close what the report proves; every uncertain hold in `booked` is closed or kept, once.

    The report's spans must not overlap.
    """
    stretches = [stretch for model in _models(report, booked) for stretch in _stretches(report, booked, model)]
    strange = [stretch for stretch in stretches if _is_strange(stretch, cards)]
    found = [_judged(stretch, report, strange, cards) for stretch in stretches if stretch.uncertain]
    return Plan(
        closings=tuple(closing for part in found for closing in part.closings),
        kept=tuple(kept for part in found for kept in part.kept),
        unexplained=tuple(
            Unexplained(model=one.model, starts_at=one.starts_at, ends_at=one.ends_at, usage=_excess(one))
            for one in strange
        ),
    )


def divide(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount in proportion to weights, in whole units, to the last one; none gets more than ceil of its part."""
    whole = sum(weights)
    parts = [amount * weight // whole for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda n: (-(amount * weights[n] % whole), n))
    for n in by_rest[: amount - sum(parts)]:
        parts[n] += 1
    return parts


def _models(report: Report, booked: Iterable[Booked]) -> list[str]:
    return sorted({line.model for line in report.lines} | {one.model for one in booked})


def _stretches(report: Report, booked: Iterable[Booked], model: str) -> list[_Stretch]:
    """The spans of one model, linked where a request reaches across; those that only touch stay apart."""
    spans = sorted(report.spans)
    items: list[tuple[datetime, datetime, Billed | Booked]] = [
        *((line.starts_at, line.ends_at, line) for line in report.lines if line.model == model),
        *((*_widened(one.reach, spans), one) for one in booked if one.model == model),
    ]
    found: list[tuple[datetime, datetime, list[Billed | Booked]]] = []
    for start, end, item in sorted(items, key=lambda each: each[:2]):
        if found and start < found[-1][1]:
            found[-1][2].append(item)
            found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2])
        else:
            found.append((start, end, [item]))
    return [
        _Stretch(
            model,
            start,
            end,
            tuple(item for item in linked if isinstance(item, Billed)),
            tuple(item for item in linked if isinstance(item, Booked)),
        )
        for start, end, linked in found
    ]


def _widened(reach: tuple[datetime, datetime], spans: Sequence[tuple[datetime, datetime]]) -> tuple[datetime, datetime]:
    """A reach up to the ends of the spans that it touches: what is in a span cannot be told apart."""
    first = bisect_right(spans, reach[0], key=lambda span: span[1])
    last = bisect_left(spans, reach[1], key=lambda span: span[0]) - 1
    if first > last:
        return reach
    return min(reach[0], spans[first][0]), max(reach[1], spans[last][1])


def _is_strange(stretch: _Stretch, cards: Cards) -> bool:
    """Whether the report has usage here that nothing in the books can have caused."""
    if stretch.uncertain or any(one.closed_at is None for one in stretch.booked):
        return False
    try:
        return _most(stretch, cards) > ZERO
    except UnknownPrice:
        return True


def _judged(stretch: _Stretch, report: Report, strange: Iterable[_Stretch], cards: Cards) -> Plan:
    """Divide what is too much over the uncertain holds, or say why not."""
    why = _hindrance(stretch, report, strange)
    if not why:
        try:
            excess = _most(stretch, cards)
        except UnknownPrice as unknown:
            why = str(unknown)
    if why:
        return Plan(kept=tuple(Kept(hold=one.hold, why=why) for one in stretch.uncertain))
    parts = divide(excess.nano, [one.uncertain.nano for one in stretch.uncertain])
    return Plan(
        closings=tuple(
            Closing(hold=one.hold, cost=Money(part), was=one.uncertain)
            for one, part in zip(stretch.uncertain, parts, strict=True)
        )
    )


def _hindrance(stretch: _Stretch, report: Report, strange: Iterable[_Stretch]) -> str:
    """Why a stretch cannot be judged; '' where it can."""
    if not _is_covered(stretch, report):
        return f"the report does not tell of all of {stretch.starts_at:%Y-%m-%d %H:%M} to {stretch.ends_at:%H:%M} UTC"
    if stretch.ends_at > max(end for _, end in report.spans) - FRESH:
        return "the report ends too soon after it: ask for a later one"
    if any(one.closed_at is None for one in stretch.booked):
        return "another request of that time is still under way"
    other = next((one for one in strange if one.overlaps(stretch)), None)
    if other is not None:
        return f"the report has usage of {other.model} at that time that no request in the books explains"
    return ""


def _is_covered(stretch: _Stretch, report: Report) -> bool:
    """Whether spans of the report lie end to end over the whole of it."""
    reached = stretch.starts_at
    for start, end in sorted(report.spans):
        if start <= reached < end:
            reached = end
    return reached >= stretch.ends_at


def _excess(stretch: _Stretch) -> Usage:
    """What the report has beyond what is proved, kind by kind, never below zero."""
    told, proved = [line.usage for line in stretch.lines], [one.proved for one in stretch.booked]

    def over(kind: Literal["input", "cache_read", "write_5m", "write_1h", "output"]) -> int:
        has, knows = (sum(int(getattr(each, kind)) for each in usages) for usages in (told, proved))
        return max(0, has - knows)

    pieces = {piece for each in told for piece in each.pieces}
    return Usage(
        input=over("input"),
        cache_read=over("cache_read"),
        write_5m=over("write_5m"),
        write_1h=over("write_1h"),
        output=over("output"),
        pieces={
            piece: number for piece in sorted(pieces) if (number := max(0, _count(told, piece) - _count(proved, piece)))
        },
    )


def _count(usages: Iterable[Usage], piece: str) -> int:
    return sum(usage.pieces.get(piece, 0) for usage in usages)


def _tokens(usage: Usage) -> bool:
    """Whether anything was used."""
    return bool(usage.prompt or usage.output or usage.pieces)


def _most(stretch: _Stretch, cards: Cards) -> Money:
    """The price of what is too much on the dearest card that the report leaves open, less what was said by word."""
    excess = _excess(stretch)
    if not _tokens(excess):
        return ZERO
    modifiers = dict.fromkeys(each for line in stretch.lines for each in line.modifiers)
    bounds = [line.most_prompt for line in stretch.lines]
    most_prompt = None if None in bounds else max(bound for bound in bounds if bound is not None)
    at = (stretch.starts_at, stretch.ends_at)
    pico = max(_pico(cards(stretch.model, when, each), excess, most_prompt) for each in modifiers for when in at)
    said = total(one.by_word for one in stretch.booked)
    return Money(max(0, Money.from_pico(pico).nano - said.nano))


def _pico(card: RateCard, usage: Usage, most_prompt: int | None) -> int:
    """On the dearest of a card's tables that a request of this report can have met."""
    tiers = [tier for tier in card.tiers if most_prompt is None or most_prompt > tier.above]
    flat = [replace(card, rates=rates, tiers=()) for rates in (card.rates, *(tier.rates for tier in tiers))]
    return max(each.pico(usage) for each in flat)
