"""What an item of a batch can cost at most, and how what came back for it is booked.

A batch is billed at the batch prices of its model's card, which the price book knows or does not: a model without them
is refused by name. Nothing is derived from the usual price. The span of prices is a day and a little more, because that
is how long a provider may take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from crewcap.core import holding
from crewcap.core.asks import Ask
from crewcap.core.budget import HoldId
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage, Write
from crewcap.gateway.batch.folder import Job, Planned, Prompt
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Admission, Prices
from crewcap.gateway.money.ends import Sent, settlement
from crewcap.gateway.policy import Policy
from crewcap.stores import HoldOrder, Settlement
from crewcap.wire import Malformed, Reading
from crewcap.wire.batches import APIS, BatchApi, Question, Result

LONGEST = timedelta(hours=26)  # from pricing an item to the provider's last word; it promises 24
UNBILLED = "{state}: the provider bills nothing for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """How one item is booked, and what that is read from."""

    item: Planned
    closed: Settlement
    sent: Sent | None = None  # with its cards; None where there was no answer to price
    reading: Reading = field(default_factory=Reading)


class NoSuchModel(LookupError):
    """No provider here sells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """Prices and rules of one gateway, for batches."""

    book: Prices
    policy: Policy
    endpoints: Mapping[str, Endpoint]  # by path, each path once

    def endpoint(self, model: str, api: str, *, at: datetime) -> Endpoint:
        """Who answers requests to a model; the first provider of the settings that has a price for it."""
        for template, endpoint in self.endpoints.items():
            if api and endpoint.dialect.name == "openai" and template != api:
                continue
            try:
                self.book.resolve(endpoint.provider.prices, model, at=at)
            except UnknownPrice:
                continue
            return endpoint
        raise NoSuchModel(f"the model {model[:100]!r} has no price at any provider that takes batches here")

    def plan(self, job: Job, prompt: Prompt, key: VirtualKey, apis: Mapping[str, BatchApi], *, at: datetime) -> Planned:
        """One item with what it holds at most, or with why it may not be sent."""
        try:
            endpoint = self.endpoint(prompt.model, job.api, at=at)
            if endpoint.provider.is_plan:
                return Planned(n=prompt.n, refused=f"provider {endpoint.provider.name} is paid by a subscription")
            ask, cards, model = self._asked(endpoint, apis[endpoint.template], job, prompt, key, at=at)
            output = ask.max_output or prompt.max_output
            amount = holding.hold_for(ask, cards, output)
            if prompt.cap and amount > Money.usd(prompt.cap):
                return Planned(n=prompt.n, refused=f"it can cost {amount.show()}, and its own cap is ${prompt.cap}")
        except Refusal as refusal:
            return Planned(n=prompt.n, refused=refusal.message)
        except (NoSuchModel, UnknownPrice, Malformed) as error:
            return Planned(n=prompt.n, refused=f"{error}, so nothing is sent")
        return Planned(
            n=prompt.n,
            endpoint=endpoint.template,
            provider=endpoint.provider.name,
            hold=f"hold-{job.owner}-{prompt.n}",
            nano=amount.nano,
            model=model,
            book=self.book.hash,
            prompt_bound=max(holding.prompt_bound(ask.bound, card) or 0 for card in cards),
            output_limit=output,
            write=ask.write,
            geos=tuple(dict.fromkeys(each.geo for each in ask.modifiers)),
            at=at.isoformat(),
        )

    def _asked(
        self, endpoint: Endpoint, api: BatchApi, job: Job, prompt: Prompt, key: VirtualKey, *, at: datetime
    ) -> tuple[Ask, tuple[RateCard, ...], str]:
        """The item's request as every other is read, at a batch's cards."""
        ask = endpoint.dialect.ask(body_of(api, job, prompt), {}, allow=self.policy.allow, path=endpoint.template)
        if ask.refusals:
            raise Refusal("not_allowed", " ".join(ask.refusals))
        of_batch = tuple(dict.fromkeys(replace(each, speed="standard", tier="batch") for each in ask.modifiers))
        ask = replace(ask, modifiers=of_batch)
        rules = replace(self.policy, longest_s=LONGEST.total_seconds())
        admission = Admission(book=self.book, policy=rules, boot=job.owner)
        model = admission.model(key, endpoint.provider, ask, at=at)
        cards = admission.cards(endpoint.provider, ask, at=at)
        return admission.limited(key, ask, cards), cards, model


def by_path(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """The endpoints that batches can be made for; of several providers with one dialect, the first."""
    found: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.template in APIS:
            found.setdefault(endpoint.template, endpoint)
    return found


def body_of(api: BatchApi, job: Job, prompt: Prompt) -> bytes:
    """The request that an item is."""
    text = f"{job.context}\n\n{prompt.text}" if job.context else prompt.text
    return api.body(Question(text=text, system=prompt.system, model=prompt.model, max_output=prompt.max_output))


def order_of(job: Job, item: Planned) -> HoldOrder:
    """What the ledger is asked for; the same words again mean the same hold."""
    return HoldOrder(
        hold=HoldId(item.hold),
        boot=job.owner,
        key=job.key,
        amount=Money(item.nano),
        model=item.model,
        provider=item.provider,
        book=item.book,
        prompt_bound=item.prompt_bound,
        output_limit=item.output_limit,
        asked_output=item.output_limit,
        notes=(f"batch {job.name}, item {item.n}",),
    )


def booked(
    item: Planned,
    result: Result,
    *,
    endpoint: Endpoint,
    api: BatchApi,
    book: PriceBook,
    batch: str,
    at: datetime,
    doubt: str = "",
) -> Booked:
    """How an item is booked by its result; `doubt` says why that may not be all of it."""
    if result.billing != "answered":
        return ended_without(item, result)
    sent = _sent(item, endpoint, book)
    meter = endpoint.dialect.meter(stream=False, write=sent.write)
    meter.feed(result.answer)
    reading = meter.close()
    reading = replace(
        reading,
        modifiers=api.billed_as(reading),
        request_id=reading.request_id or batch,
        doubt=reading.doubt or doubt,
    )
    closed = settlement(sent, "complete", reading, book=book, at=at, status=result.status)
    return Booked(item=item, closed=closed, sent=sent, reading=reading)


def ended_without(item: Planned, result: Result) -> Booked:
    """An item without an answer: released where the provider says that it bills nothing, and else charged in full."""
    is_free = result.billing == "unbilled"
    why = f": {result.error[:300]}" if result.error else ""
    reason = UNBILLED.format(state=result.state) if is_free else f"{result.state}: nothing tells what was billed"
    closed = Settlement(
        hold=HoldId(item.hold),
        kind="released" if is_free else "uncertain",
        spent=ZERO,
        uncertain=ZERO if is_free else Money(item.nano),
        usage=Usage(),
        status=result.status,
        reason=reason + why,
    )
    return Booked(item=item, closed=closed)


def _sent(item: Planned, endpoint: Endpoint, book: PriceBook) -> Sent:
    """An item as it was held; its cards are looked up again, by the same names at the same time."""
    at = datetime.fromisoformat(item.at)
    prices = endpoint.provider.prices
    return Sent(
        hold=HoldId(item.hold),
        held=Money(item.nano),
        dialect=endpoint.dialect.name,
        prices=prices,
        model=item.model,
        cards=_cards(book, prices, item, at),
        prompt_bound=item.prompt_bound,
        output_limit=item.output_limit,
        write=cast("Write", item.write),
        samplings=1,
        sent_at=at,
    )


def _cards(book: PriceBook, prices: str, item: Planned, at: datetime) -> tuple[RateCard, ...]:
    """Every card that the item could meet, in the regions that were held for."""
    found: list[RateCard] = []
    for geo in item.geos:
        try:
            modifiers = [Modifiers(tier="batch", geo=geo)]
            found += book.reachable(prices, item.model, start=at, end=at + LONGEST, modifiers=modifiers)
        except UnknownPrice:
            continue
    return tuple(found)
