"""May this key ask this, and what is the most that it can cost: from bytes to a `Want`.

Everything here is decided on values; only the free count call goes out, and only when a request does not fit by
its bytes (a token is at least one byte, so bytes bound four to five times too high).
"""

from __future__ import annotations

import difflib
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from crewcap.core import holding
from crewcap.core.asks import Ask
from crewcap.core.budget import BootId, HoldId
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice
from crewcap.core.quick import quickly_made
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.choosing import Want
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import PROBE_S, Provider
from crewcap.stores import HoldOrder
from crewcap.wire import Dialect

SMALL_PROMPT = 2_000  # tokens by bytes; below this a count call, which adds 500, gains nothing
COUNTS_KEPT = 512
FROM_SLICE = "from the run's final slice"
STANDARD = Modifiers()
CARDS_KEPT = timedelta(minutes=1)
MOST_CARDS_KEPT = 256


class Prices(PriceBook, Protocol):
    """A price book that can also say what is in it."""

    def models(self, provider: str) -> Iterable[str]:
        """Full ids of every priced model of a provider."""
        ...


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One metered request, read and allowed, with everything that its hold rests on."""

    hold: HoldId
    key: VirtualKey
    endpoint: Endpoint
    path: str  # as it was asked, and as it is forwarded
    body: bytes = field(default=b"", repr=False)  # as it was asked
    ask: Ask  # with `max_output` as far as the key and the model allow
    said_output: int | None  # tokens, as the client said; None where it did not
    model: str  # full id
    cards: tuple[RateCard, ...]
    count: Callable[[], Awaitable[int | None]]  # prompt tokens by the provider's count call
    is_notional: bool = False  # a subscription is known to pay, so no money is held
    arrived: float = 0.0  # monotonic seconds: when its last byte was here
    agent: str = ""
    parent_agent: str = ""
    keeps: tuple[Money, ...] = ()  # what must stay free of the run's cap; after it, what that may come down to
    prompt_tokens: int | None = None  # a closer bound than bytes, once it is known
    notes: tuple[str, ...] = ()

    @property
    def provider(self) -> Provider:
        """Who is asked."""
        return self.endpoint.provider

    @property
    def dialect(self) -> Dialect:
        """In whose words."""
        return self.endpoint.dialect

    @property
    def asked_output(self) -> int:
        """Tokens that the client asked for; what it may have where it did not say."""
        return self.said_output or self.ask.max_output or 0

    @property
    def keep(self) -> Money:
        """What must stay free of the run's own cap."""
        return self.keeps[0] if self.keeps else ZERO

    @property
    def prompt_bound(self) -> int:
        """The most prompt tokens of one run of the model, on any of the cards."""
        if self.prompt_tokens is not None:
            return self.prompt_tokens
        return max(holding.prompt_bound(self.ask.bound, card) or 0 for card in self.cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What an earlier request of the same conversation says about this one."""

    prompt: int  # tokens that the earlier one was billed for
    tokens: int  # the most prompt tokens that this one can be billed for


class Memory(Protocol):
    """What settled requests were billed as."""

    def knows(self, request: Request) -> bool:
        """Whether something is remembered of this conversation."""
        ...

    async def recall(self, request: Request) -> Recalled | None:
        """The smallest bound by what is remembered."""
        ...


Closer = Callable[[Request], Awaitable[tuple[Request, bool] | None]]
"""A way to a closer bound: the request with it, and whether there is no point in looking for a closer one still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Prices and policy of one gateway."""

    book: Prices
    policy: Policy
    boot: BootId
    memory: Memory | None = None
    _cards: dict[object, tuple[datetime, tuple[RateCard, ...]]] = field(default_factory=dict)

    def model(self, key: VirtualKey, provider: Provider, ask: Ask, *, at: datetime) -> str:
        """The full id of the model asked for, if it and all that may answer with it have a price and may be used."""
        model = self._model(key, provider, ask.model, at=at)
        for other in ask.other_models:
            self._model(key, provider, other, at=at)
        return model

    def _model(self, key: VirtualKey, provider: Provider, name: str, *, at: datetime) -> str:
        try:
            full = self.book.resolve(provider.prices, name, at=at)
        except UnknownPrice as unknown:
            raise Refusal("not_allowed", self._no_price(provider, name), unpriced=(provider.prices, name)) from unknown
        if key.models and full not in key.models and name not in key.models:
            allowed = ", ".join(key.models)
            raise Refusal("not_allowed", f"this key may not use the model {name[:100]!r}; it may use {allowed}")
        return full

    def cards(self, provider: Provider, ask: Ask, *, at: datetime) -> tuple[RateCard, ...]:
        """Every card that the request may meet until it must have ended; looked up once a minute for all alike.

        Names go in as they were asked: they are sent that way, and what a short one means is the provider's to say.
        """
        names = (ask.model, *ask.other_models)
        alike = (provider.prices, names, ask.modifiers, ask.geo_is_assumed)
        known = self._cards.get(alike)
        if known is not None and known[0] - CARDS_KEPT <= at < known[0]:
            return known[1]
        until = at + CARDS_KEPT
        try:
            cards = tuple(
                card for name in names for card in self._reachable(provider, ask, name, start=at, until=until)
            )
        except UnknownPrice as unknown:
            message = f"{unknown}, so nothing is sent"
            raise Refusal("not_allowed", message, unpriced=(provider.prices, ask.model)) from unknown
        if len(self._cards) >= MOST_CARDS_KEPT:
            self._cards.clear()
        self._cards[alike] = (until, cards)
        return cards

    def _reachable(
        self, provider: Provider, ask: Ask, name: str, *, start: datetime, until: datetime
    ) -> tuple[RateCard, ...]:
        """The cards of one name. A region that nobody asked for counts where the price list knows regions at all."""
        longest_s = PROBE_S + self.policy.wait_s + self.policy.longest_s  # the count call, the wait, the answer
        end = until + timedelta(seconds=longest_s)
        reachable = partial(self.book.reachable, provider.prices, name, start=start, end=end)
        try:
            return reachable(modifiers=ask.modifiers)
        except UnknownPrice:
            if not ask.geo_is_assumed:
                raise
            return reachable(modifiers=[each for each in ask.modifiers if each.geo == STANDARD.geo])

    def limited(self, key: VirtualKey, ask: Ask, cards: tuple[RateCard, ...]) -> Ask:
        """The request with the output limit that the key and the model allow."""
        limits = [limit for limit in (ask.max_output, key.max_output) if limit is not None]
        known = [card.max_output for card in cards if card.max_output is not None]
        if len(known) == len(cards) and known:
            limits.append(max(known))
        limit = min(limits, default=None)
        if limit is not None and ask.thinking_budget and limit <= ask.thinking_budget:
            raise Refusal(
                "not_allowed",
                f"{limit} output tokens are allowed and the request's thinking budget alone is {ask.thinking_budget}; "
                "ask for less thinking, or make a key with a larger --max-output",
            )
        return ask if limit == ask.max_output else replace(ask, max_output=limit)

    def want(self, request: Request) -> Want:
        """What the purse is asked for."""
        return self._want(request, self._closers(request))

    def _want(self, request: Request, closers: tuple[Closer, ...]) -> Want:
        ask, cards, tokens = request.ask, request.cards, request.prompt_tokens
        if ask.max_output is None:
            raise Refusal("not_allowed", f"the output limit of {request.model} is not known; send one")
        try:
            if request.is_notional:
                return self._free(request, ask.max_output)
            floor = holding.least_output(ask, ask.max_output)
            most = self.amount(request, ask.max_output)
            return Want(
                key=request.key,
                full=ask.max_output,
                most=most,
                floor=floor,
                least=most if floor == ask.max_output else self.amount(request, floor),
                clamp=lambda room: holding.clamp_for(ask, cards, room, prompt_tokens=tokens),
                order=lambda output: self._order(request, output, most if output == ask.max_output else None),
                keep=request.keep,
                refine=(lambda: self._refined(request, closers)) if closers else None,
                deeper=(lambda: self._want(_deeper(request), closers)) if len(request.keeps) > 1 else None,
            )
        except UnknownPrice as unknown:
            message = f"{unknown}; without it the request has no known upper cost"
            raise Refusal("not_allowed", message, unpriced=(request.provider.prices, request.ask.model)) from unknown

    def _free(self, request: Request, output: int) -> Want:
        """A request that costs nothing: rates and counts may still have no room for it."""
        return Want(
            key=request.key,
            full=output,
            most=ZERO,
            floor=output,
            least=ZERO,
            clamp=lambda _: output,
            order=lambda output: replace(self._order(request, output, ZERO), keep=ZERO),
        )

    def _order(self, request: Request, output: int, amount: Money | None) -> HoldOrder:
        asked = request.asked_output
        notes = request.notes if output >= asked else (*request.notes, f"clamped {asked} -> {output}")
        return HoldOrder(
            hold=request.hold,
            boot=self.boot,
            key=request.key.id,
            amount=amount if amount is not None else self.amount(request, output),
            model=request.model,
            provider=request.provider.name,
            book=self.book.hash,
            prompt_bound=request.prompt_bound,
            output_limit=output,
            asked_output=asked,
            agent=request.agent,
            parent_agent=request.parent_agent,
            notes=notes,
            keep=request.keep,
        )

    @staticmethod
    def amount(request: Request, output: int) -> Money:
        """The most that the request can cost with this output limit."""
        return holding.hold_for(request.ask, request.cards, output, prompt_tokens=request.prompt_tokens)

    def _closers(self, request: Request) -> tuple[Closer, ...]:
        """The ways to a closer bound, the free one first: for one run of one model, over a prompt that is worth it."""
        ask, models = request.ask, {card.model for card in request.cards}
        if ask.samplings != 1 or len(models) != 1 or request.prompt_bound <= SMALL_PROMPT:
            return ()
        recalls = (self.recalled,) if self.memory is not None and self.memory.knows(request) else ()
        counts = (_counted,) if ask.is_countable else ()
        return (*recalls, *counts)

    async def _refined(self, request: Request, closers: tuple[Closer, ...]) -> Want:
        """The same request with the first closer bound that there is."""
        for number, closer in enumerate(closers, 1):
            found = await closer(request)
            if found is not None:
                closest, is_enough = found
                return self._want(closest, () if is_enough else closers[number:])
        return self._want(request, ())

    async def recalled(self, request: Request) -> tuple[Request, bool] | None:
        """By a settled request that this one goes on from; a count is not worth its time where it could say no less."""
        found = await self.memory.recall(request) if self.memory is not None else None
        if found is None or found.tokens >= request.prompt_bound:
            return None
        note = f"bound by prefix memory: {found.prompt} tokens settled, {found.tokens - found.prompt} more at most"
        closer = replace(request, prompt_tokens=found.tokens, notes=(*request.notes, note))
        return closer, found.tokens <= holding.counted_bound(found.prompt)

    def _no_price(self, provider: Provider, name: str) -> str:
        """Name the nearest model that has a price."""
        near = difflib.get_close_matches(name, list(self.book.models(provider.prices)), n=1, cutoff=0.4)
        hint = f"; the nearest one that has is {near[0]}" if near else ""
        return f"the model {name[:100]!r} has no price, so nothing is sent{hint}"


def _deeper(request: Request) -> Request:
    """The same, leaving less of the run's cap free."""
    notes = request.notes if FROM_SLICE in request.notes else (*request.notes, FROM_SLICE)
    return replace(request, keeps=request.keeps[1:], notes=notes)


async def _counted(request: Request) -> tuple[Request, bool] | None:
    """By the provider's count call."""
    count = await request.count()
    if count is None or (tokens := holding.counted_bound(count)) >= request.prompt_bound:
        return None
    note = f"bound by count call: {count} tokens"
    return replace(request, prompt_tokens=tokens, notes=(*request.notes, note)), True


class Counts:
    """Answers of the free count call, by what was asked, so that a request that waits is counted once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, int] = OrderedDict()

    async def get(self, body: bytes, betas: str, call: Callable[[], Awaitable[int | None]]) -> int | None:
        """From memory, else by the call; None (never kept) where the provider did not say. Betas change counts."""
        digest = hashlib.sha256(f"{len(betas)}:{betas}".encode() + body).digest()
        if (known := self._kept.get(digest)) is not None:
            self._kept.move_to_end(digest)
            return known
        count = await call()
        if count is not None:
            self._kept[digest] = count
            if len(self._kept) > COUNTS_KEPT:
                self._kept.popitem(last=False)
        return count
