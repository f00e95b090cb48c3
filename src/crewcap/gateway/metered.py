"""The way of a metered request: from its bytes, over its hold, to its answer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from datetime import datetime
from random import getrandbits

from aiohttp import web

from crewcap.core.asks import Ask
from crewcap.core.budget import Denied, HoldId, Refused
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.gateway.front import headers
from crewcap.gateway.front.answers import Refusal, budget_message, retry_after_s, waiting_message
from crewcap.gateway.front.callers import Call, Callers
from crewcap.gateway.front.doors import Door, Doors
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.front.fanout import FanOuts, Speaker, speaker
from crewcap.gateway.front.outlet import has_left
from crewcap.gateway.money import plan
from crewcap.gateway.money.admission import Admission, Counts, Prices, Request
from crewcap.gateway.money.prefixes import Prefixes
from crewcap.gateway.money.purse import Held, Purse, TimedOut, Withdrawn
from crewcap.gateway.money.slices import Slices
from crewcap.gateway.parts import Parts
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider import share
from crewcap.gateway.provider.attempts import Attempts, Schedule, pause
from crewcap.gateway.provider.breaker import Breakers
from crewcap.gateway.provider.exchange import Exchange, Forwarding
from crewcap.gateway.provider.freeze import Trouble
from crewcap.gateway.provider.judging import frozen_message
from crewcap.gateway.provider.rates import Failures
from crewcap.gateway.provider.upstream import Provider, Upstream
from crewcap.gateway.watching.watchers import Ended, Watcher, tell_ended
from crewcap.wire import Malformed, RefusalKind

log = logging.getLogger(__name__)

LARGE_BODY = 2**18  # read outside the event loop
SHARE_LOOK_S = 1.0  # those who wait for the provider's limits look this often whether an answer told of more
CONTINUES = frozenset({"previous_response_id"})  # what `[gateway] allow` calls going on from an earlier answer

_DENIED: Mapping[str, RefusalKind] = {
    "key_unknown": "key",
    "key_expired": "key",
    "key_revoked": "key",
    "turn_limit": "turns",
    "clock": "unavailable",
    "model_not_allowed": "not_allowed",
    "count_limit": "budget",
}


class Metered:
    """The metered requests of one running gateway."""

    def __init__(self, parts: Parts, *, callers: Callers, doors: Doors, watchers: list[Watcher]) -> None:
        self.exchanges: dict[Exchange, VirtualKey] = {}
        self.ending = asyncio.Event()
        self.fan_outs = FanOuts()
        self._parts = parts
        self._callers = callers
        self._doors = doors
        self._watchers = watchers
        self.slices = Slices(self._cap_of)
        self.prefixes = Prefixes()
        self._admission = self._admission_by(parts)
        self._counts = Counts()
        self._failures = Failures(time.monotonic)
        self.plans = plan.Plans()
        self._key_names: dict[str, tuple[Mapping[str, str], str]] = {}  # provider -> its key's header, and our name
        self.shares = share.Shares(time.monotonic)
        self.breakers = Breakers(time.monotonic, parts.policy.breaker)

    def renewed(self, parts: Parts) -> Metered:
        """The same with another book and policy, for requests that come from now on.

        Those under way keep this one, and with it the prices that they were held at.
        """
        fresh = copy(self)
        fresh._parts = parts  # noqa: SLF001  (one of our own)
        fresh._admission = self._admission_by(parts)  # noqa: SLF001
        return fresh

    def _admission_by(self, parts: Parts) -> Admission:
        return Admission(book=parts.book, policy=parts.policy, boot=parts.boot, memory=self.prefixes)

    # --- what an exchange needs of its gateway

    @property
    def purse(self) -> Purse:
        """Where money is held and settled."""
        return self._parts.purse

    @property
    def upstream(self) -> Upstream:
        """The way to providers."""
        return self._parts.upstream

    @property
    def book(self) -> Prices:
        """What things cost."""
        return self._parts.book

    @property
    def policy(self) -> Policy:
        """What this gateway goes by."""
        return self._parts.policy

    def now(self) -> datetime:
        """The wall clock."""
        return self._parts.clock()

    def freeze(self, provider: Provider, trouble: Trouble) -> None:
        """A provider's key is out of order; said once in the log."""
        if self._parts.freezer.freeze(provider.name, trouble):
            log.error("%s", frozen_message(provider, trouble))
        if trouble.kind == "incident":
            self._parts.incidents.saw(provider.name, trouble)

    def failed(self, request: Request) -> bool:
        """The provider failed this very request once more; whether the client should stop asking."""
        return self._failures.add(hashlib.sha256(request.key.id.encode() + request.body).digest())

    def heard(self, request: Request, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer: a sign of life, and word of the provider's limits."""
        key = self._key_name(request.provider)
        if status < 500:
            self.breakers.answered(key)
        if request.provider.is_plan:
            self.plans.heard(key, status, headers)
            if trouble := plan.trouble(headers, now=self.now()):
                self.freeze(request.provider, trouble)
        if request.provider.share < share.WHOLE:
            self.shares.heard(key, request.model, headers, now=self.now())

    def ended(self, ended: Ended) -> None:
        """An attempt is over: those who watch are told, once its answer is on its way and before the next request."""
        watchers: tuple[Watcher, ...] = (self.prefixes, self.slices, *self._watchers)
        asyncio.get_running_loop().call_soon(tell_ended, watchers, ended)

    # --- one request

    async def answer(self, endpoint: Endpoint, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Read, allow, hold, forward, settle."""
        call = await self._callers.read(door, http)
        who = speaker(call.headers)

        def is_gone() -> bool:
            return self.ending.is_set() or has_left(http) or not self._doors.lets_in(door, call.key.id)

        try:
            async with self.fan_outs.admitted(call.key.run, who, policy=self.policy, is_gone=is_gone):
                return await self._answer(endpoint, call, who, http)
        except Refusal as refusal:
            raise refusal.of(call.key) from refusal.__cause__

    async def _answer(self, endpoint: Endpoint, call: Call, who: Speaker, http: web.BaseRequest) -> web.StreamResponse:
        ask, is_capped = await self._allowed(endpoint, call, http.rel_url.raw_path)

        def is_gone() -> bool:
            return has_left(http) or not self._doors.lets_in(call.door, call.key.id)

        async def send(attempt: int, before: str, let_out: Callable[[], object]) -> web.StreamResponse:
            await self._follow_share(endpoint.provider, call.key, ask, is_gone)
            request = self._request(endpoint, call, who, ask, http.rel_url.raw_path)
            if before:
                request = replace(request, notes=(*request.notes, f"attempt {attempt}: {before}"))
            self.refuse_frozen(endpoint.provider, request.model, is_capped=is_capped)
            request = await self.slices.kept(request)
            held = await self._hold(request, is_gone)
            self.slices.served(request, held.order)
            exchange = Exchange(self, http, request, held, attempt=attempt)
            try:
                self._refuse_too_late(is_gone)
                self.refuse_frozen(endpoint.provider, request.model, is_capped=is_capped)  # perhaps while it waited
                exchange.load(_outgoing(call, http, request, held))
                let_out()
                if endpoint.provider.share < share.WHOLE:
                    self.shares.let_out(self._key_name(endpoint.provider), request.model)
            except BaseException:
                exchange.let_go()
                raise
            self.exchanges[exchange] = call.key
            try:
                return await exchange.run()
            finally:
                del self.exchanges[exchange]

        attempts = self._attempts(endpoint.provider)
        return await attempts.run(send, is_gone=is_gone, is_repeatable=ask.samplings == 1)

    def _attempts(self, provider: Provider) -> Attempts:
        return Attempts(
            provider=provider.name,
            key=self._key_name(provider),
            breakers=self.breakers,
            ending=self.ending,
            look_s=self.policy.look_s,
            schedule=Schedule(policy=self.policy),
        )

    async def _follow_share(self, provider: Provider, key: VirtualKey, ask: Ask, is_gone: Callable[[], bool]) -> None:
        """Wait while less is left of the provider's limits than is kept for others."""
        if provider.share >= share.WHOLE:
            return
        model = self._admission.model(key, provider, ask, at=self.now())
        name, deadline = self._key_name(provider), time.monotonic() + self.policy.wait_s
        while (short := self.shares.short(name, model, provider.share)) is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                said = share.message(provider.name, short, provider.share)
                raise Refusal("wait", said, retry_after_s=math.ceil(short.wait_s))
            wait_s = min(short.wait_s, left, SHARE_LOOK_S)
            await pause(wait_s, ending=self.ending, look_s=self.policy.look_s, is_gone=is_gone)

    def _key_name(self, provider: Provider) -> str:
        """A provider's key among the breakers: another key of the same provider is another one."""
        shown = self.upstream.key_headers(provider)
        known = self._key_names.get(provider.name)
        if known is not None and known[0] == shown:
            return known[1]
        digest = hashlib.blake2b(repr(sorted(shown.items())).encode(), digest_size=4).hexdigest()
        self._key_names[provider.name] = shown, f"{provider.name} {digest}"
        return self._key_names[provider.name][1]

    def refuse_frozen(self, provider: Provider, model: str, *, is_capped: bool) -> None:
        """Say so where the provider's key is out of order."""
        trouble = self._parts.freezer.blocks(provider.name, model, is_capped=is_capped, now=self._parts.clock())
        if trouble is not None:
            raise Refusal("frozen", frozen_message(provider, trouble))

    def _refuse_too_late(self, is_gone: Callable[[], bool]) -> None:
        if self.ending.is_set() or is_gone():
            raise Refusal("unavailable", "nothing was sent: the client left, or the gateway is ending")

    async def _allowed(self, endpoint: Endpoint, call: Call, path: str) -> tuple[Ask, bool]:
        """What the body asks for, if this key may ask it, and whether a money limit is in force for it.

        A request may go on from an earlier answer that is kept at the provider, where it was this key's own.
        """
        ask = await self._ask(endpoint, call, path, self.policy.allow)
        is_capped = await self._is_capped(call.key)
        if is_capped and ask.refusals and ask.continues:
            is_own = await self.purse.do(self._parts.ledger.has_answer, call.key.id, ask.continues)
            ask = await self._ask(endpoint, call, path, self.policy.allow | CONTINUES) if is_own else ask
        if is_capped and ask.refusals:
            raise Refusal("not_allowed", " ".join(ask.refusals))
        return ask, is_capped

    @staticmethod
    async def _ask(endpoint: Endpoint, call: Call, path: str, allow: frozenset[str]) -> Ask:
        """What the body asks for; a large one is read in a thread."""
        dialect = endpoint.dialect
        try:
            if len(call.body) < LARGE_BODY:
                return dialect.ask(call.body, call.headers, allow=allow, path=path)
            return await asyncio.to_thread(dialect.ask, call.body, call.headers, allow=allow, path=path)
        except Malformed as error:
            raise Refusal("malformed", str(error)) from error

    def _request(self, endpoint: Endpoint, call: Call, who: Speaker, ask: Ask, path: str) -> Request:
        """The request with its model, its cards and its limits."""
        at = self._parts.clock()
        model = self._admission.model(call.key, endpoint.provider, ask, at=at)
        cards = self._admission.cards(endpoint.provider, ask, at=at)
        limited = self._admission.limited(call.key, ask, cards)
        return Request(
            hold=HoldId(f"hold-{time.time_ns():016x}{getrandbits(48):012x}"),  # a name, and no secret
            key=call.key,
            endpoint=endpoint,
            path=path,
            body=call.body,
            ask=limited,
            said_output=ask.max_output,
            model=model,
            cards=cards,
            count=lambda: self._count(endpoint, call, path),
            is_notional=endpoint.provider.is_plan and self.plans.pays(self._key_name(endpoint.provider)),
            arrived=call.read_at,
            agent=who.agent,
            parent_agent=who.parent,
            notes=ask.notes,
        )

    async def _count(self, endpoint: Endpoint, call: Call, path: str) -> int | None:
        """Prompt tokens by the provider's free count call, asked once for each body."""
        where = endpoint.count_path(path)
        if not where:
            return None
        counted = endpoint.dialect.count_body(call.body, path=path)
        sent = headers.to_provider(call.headers, key=self.upstream.key_headers(endpoint.provider))
        about = f"{where} {sent.get('anthropic-beta', '')}"
        return await self._counts.get(
            counted, about, lambda: self.upstream.count(endpoint.provider, endpoint.dialect, where, counted, sent)
        )

    async def _is_capped(self, key: VirtualKey) -> bool:
        """Whether any money limit is in force for the key: its own, or one of a scope above it."""
        return key.capped or bool(await self.purse.do(self._parts.ledger.balances, key.id))

    async def _cap_of(self, key: VirtualKey) -> Money | None:
        """What the run of a key may cost, if that is limited."""
        balances = await self.purse.do(self._parts.ledger.balances, key.id)
        return next((each.limit for each in balances if each.scope == f"run:{key.run}"), None)

    async def _hold(self, request: Request, is_gone: Callable[[], bool]) -> Held:
        """Money for the request, after waiting for it if need be, or the refusal that says why not."""
        place = self.purse.place(request.key)
        want = self._admission.want(request)
        outcome = await self.purse.reserve(want, place=place, is_gone=is_gone)
        match outcome:
            case Held():
                return outcome
            case TimedOut(refusal):
                message = waiting_message(refusal, self.policy.wait_s)
                raise Refusal("wait", message, retry_after_s=retry_after_s(refusal))
            case Withdrawn(reason):
                raise Refusal("unavailable", f"nothing was sent: {reason}")
            case Denied():
                self._note(request, outcome.message, needed=want.least)
                raise Refusal(_DENIED[outcome.code], outcome.message)
            case Refused():
                message = budget_message(outcome)
                self._note(request, message, needed=outcome.needed + outcome.kept)
                raise Refusal("budget", message)

    def _note(self, request: Request, message: str, *, needed: Money) -> None:
        self.purse.note_refusal(request.key.id, model=request.model, needed=needed, message=message)


def _outgoing(call: Call, http: web.BaseRequest, request: Request, held: Held) -> Forwarding:
    """The body with the output limit that was held, if the client said another one or none, and with our tier."""
    is_as_said = held.output == request.said_output
    body = request.dialect.rewrite(call.body, max_output=None if is_as_said else held.output)
    return Forwarding(body=body, headers=call.headers, query=headers.query(http.query))
