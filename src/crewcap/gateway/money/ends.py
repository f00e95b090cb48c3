"""How each way in which a request can end is booked.

The rule (MONEY section 3), as data per provider in `KNOWN_ENDS`:

    unsent       no byte was written                         released
    plain_error  a complete answer that is not 2xx           released   (providers do not bill plain errors)
    no_answer    the body was sent, nothing whole came back  the whole hold is uncertain
    cut          an answer began and did not end             the prompt exact, the output at its limit uncertain;
                                                             the whole hold, where the prompt's split is not known
    complete     the answer ended as the provider ends one   exact; as if it was cut, where its usage is not told whole

An answer settles at its *own* model, tier, speed and geo, at the dearer price if a change lies between send and
end. Where an answer breaks what its hold rested on, that is an incident: it is booked in full all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from crewcap.core.budget import HoldId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import PriceBook, RateCard, UnknownPrice, Usage, Write, worst_case
from crewcap.core.quick import quickly_made
from crewcap.stores import Settlement
from crewcap.wire import Reading

End = Literal["unsent", "plain_error", "no_answer", "cut", "complete"]
Booking = Literal["release", "whole", "prompt", "exact"]

_PROMPT_FIRST: Mapping[End, Booking] = {
    "unsent": "release",
    "plain_error": "release",
    "no_answer": "whole",
    "cut": "prompt",
    "complete": "exact",
}
KNOWN_ENDS: Mapping[str, Mapping[End, Booking]] = {
    "anthropic": _PROMPT_FIRST,
    "gemini": _PROMPT_FIRST,
    "openai": {**_PROMPT_FIRST, "cut": "whole"},  # tells nothing before its last event
}
ENDS_WITH_ITS_CONNECTION = frozenset({"gemini"})
"""Dialects whose streams have no end mark: only a connection that ends well says that nothing more would have come."""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request as it was held and sent: everything that its end is measured by."""

    hold: HoldId
    held: Money
    dialect: str
    prices: str  # the provider's name in the price book
    model: str  # full id, as held
    cards: tuple[RateCard, ...]
    prompt_bound: int
    output_limit: int  # tokens; the most that one run can be billed for, all its answers and thinking included
    write: Write
    samplings: int
    sent_at: datetime


NO_USAGE = Usage()
Booked = Callable[..., Settlement]
"""A settlement whose kind and money are still to be said."""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """What some usage costs on the answer's own cards."""

    cost: Money
    cards: tuple[RateCard, ...] = ()  # of each sampling; none where one of them has no price
    incident: str = ""

    @property
    def card(self) -> str:
        """What it was settled at, for the books."""
        return self.cards[0].id if self.cards else ""


def end_of_stream(dialect: str, reading: Reading, *, is_broken: bool) -> End:
    """How a stream ended, by what was read of it and by how its connection ended."""
    if reading.is_complete and not (is_broken and dialect in ENDS_WITH_ITS_CONNECTION):
        return "complete"
    return "cut" if reading.has_started else "no_answer"


def after_first_event(sent: Sent, reading: Reading, *, book: PriceBook, at: datetime) -> Money | None:
    """Early release: what still has to be held once the prompt's exact split is known; None where it is not."""
    if not reading.prompt_is_exact or reading.usage is None or _runs(sent, reading) > 1:
        return None
    most = replace(reading.usage, output=sent.output_limit, thinking=0, pieces={})
    try:
        answering = book.card(sent.prices, reading.model or sent.model, at=at, modifiers=reading.modifiers)
        return max(card.cost(most) for card in (answering, *sent.cards))
    except UnknownPrice:
        return None


def settlement(
    sent: Sent, end: End, reading: Reading, *, book: PriceBook, at: datetime, status: int, reason: str = ""
) -> Settlement:
    """How this end is booked."""
    usage = reading.usage
    book_as = partial(
        Settlement,
        hold=sent.hold,
        usage=usage or NO_USAGE,
        model=reading.model,
        request_id=reading.request_id,
        status=status,
        reason=reason or ("" if end == "complete" else end),
        raw_usage=reading.raw_usage,
    )
    booking = KNOWN_ENDS[sent.dialect][end]
    if booking == "release":
        return book_as(kind="released", spent=ZERO, uncertain=ZERO, usage=NO_USAGE)
    if booking == "exact" and (usage is None or not (reading.usage_is_whole or reading.doubt)):
        booking, book_as = "prompt", partial(book_as, reason=reason or "the answer does not tell its usage")
    if usage is None:
        return book_as(kind="uncertain", spent=ZERO, uncertain=sent.held)
    if booking == "exact":
        return _exact(book_as, sent, reading, usage, book=book, at=at)
    if booking == "prompt" and reading.prompt_is_exact and _runs(sent, reading) == 1:
        return _prompt_only(book_as, sent, replace(reading, samplings=()), usage, book=book, at=at)
    return _at_least(book_as, sent, reading, usage, book=book, at=at)


def _exact(book_as: Booked, sent: Sent, reading: Reading, usage: Usage, *, book: PriceBook, at: datetime) -> Settlement:
    """A whole answer; where its price or its usage is in doubt, the rest of the hold stays charged beside it."""
    price = _price(sent, reading, usage, book=book, at=at)
    is_known = bool(price.cards) and not reading.doubt
    rest = ZERO if is_known else Money(max(0, sent.held.nano - price.cost.nano))
    return book_as(
        kind="uncertain" if rest else "settled",
        spent=price.cost,
        uncertain=rest,
        card=price.card,
        incident=reading.doubt or price.incident or _broken(sent, reading, price),
    )


def _prompt_only(
    book_as: Booked, sent: Sent, reading: Reading, told: Usage, *, book: PriceBook, at: datetime
) -> Settlement:
    """An answer that was cut: what was read is known, what was written may be anything up to the limit."""
    usage = replace(told, output=0, thinking=0)
    prompt = _price(sent, reading, usage, book=book, at=at)
    written = max(sent.output_limit, told.output)
    whole = _price(sent, reading, replace(usage, output=written), book=book, at=at)
    most = whole.cost if whole.cards else max(whole.cost, sent.held)
    return book_as(
        kind="uncertain",
        spent=prompt.cost,
        uncertain=most - prompt.cost,
        usage=usage,
        card=prompt.card,
        incident=prompt.incident or _broken(sent, reading, prompt),
    )


def _at_least(
    book_as: Booked, sent: Sent, reading: Reading, usage: Usage, *, book: PriceBook, at: datetime
) -> Settlement:
    """An answer that was cut before its prompt was exact: the whole hold, and more where it told of more."""
    told = _price(sent, reading, usage, book=book, at=at)
    return book_as(
        kind="uncertain",
        spent=ZERO,
        uncertain=max(sent.held, told.cost),
        incident=reading.doubt or told.incident or _broken(sent, reading, told),
    )


def _price(sent: Sent, reading: Reading, usage: Usage, *, book: PriceBook, at: datetime) -> _Price:
    """The dearer of the prices at send and at end; on the held cards where the answer's own have no price."""
    parts = reading.samplings or ((reading.model or sent.model, usage),)
    try:
        cards = _cards(sent, reading, parts, book=book, at=sent.sent_at)
        later = _cards(sent, reading, parts, book=book, at=at)
        price = _sum(parts, cards)
        return price if later == cards else max(price, _sum(parts, later), key=lambda each: each.cost)
    except UnknownPrice as unknown:
        cost = Money.from_pico(max(card.token_pico(usage) for card in sent.cards))
        return _Price(cost=cost, incident=f"the answer cannot be priced: {unknown}")


Parts = tuple[tuple[str, Usage], ...]


def _cards(sent: Sent, reading: Reading, parts: Parts, *, book: PriceBook, at: datetime) -> list[RateCard]:
    """The card of each sampling's own model at one time."""
    return [book.card(sent.prices, model or sent.model, at=at, modifiers=reading.modifiers) for model, _ in parts]


def _sum(parts: Parts, cards: list[RateCard]) -> _Price:
    """Every sampling on its own card, rounded up once."""
    pico = sum(card.pico(part) for card, (_, part) in zip(cards, parts, strict=True))
    return _Price(cost=Money.from_pico(pico), cards=tuple(cards))


def _runs(sent: Sent, reading: Reading) -> int:
    """How often the model was run, by what was asked and by what the answer lists."""
    return max(sent.samplings, len(reading.samplings))


def _broken(sent: Sent, reading: Reading, price: _Price) -> str:
    """Which assumption of the hold an answer broke, as a sentence; '' for none."""
    if price.cost > sent.held:
        return f"the answer cost {price.cost.exact()} and {sent.held.exact()} was held"
    if sent.samplings > 1:
        return ""
    told = [reading.usage or NO_USAGE, *(part for _, part in reading.samplings)]
    prompt, output = max(part.prompt for part in told), max(part.output for part in told)
    if prompt > sent.prompt_bound:
        return f"the answer was billed {prompt} prompt tokens and its bound was {sent.prompt_bound}"
    if output > sent.output_limit:
        return f"the answer was billed {output} output tokens and its limit was {sent.output_limit}"
    dearer = next((card for card in price.cards if _is_dearer(sent, card)), None)
    if dearer is not None:
        return f"the answer came from {dearer.model} at a dearer price than was held for {sent.model}"
    return ""


def _is_dearer(sent: Sent, card: RateCard) -> bool:
    """Whether the same request could have cost more on this card than on any that was held."""
    if card in sent.cards:
        return False

    def most(cards: tuple[RateCard, ...]) -> Money:
        return worst_case(cards, prompt_tokens=sent.prompt_bound, write=sent.write, output_tokens=sent.output_limit)

    try:
        return most((card,)) > most(sent.cards)
    except UnknownPrice:  # it sells, at a price that nobody told, what the request asked for
        return True
