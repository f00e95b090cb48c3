"""One metered request, from the granted hold to its settlement, whatever becomes of client or provider.

The order that makes the books true:

1. The hold is on the disk before the first byte goes out.
2. Chunks pass through untouched; the meter reads them as they pass.
3. The first event with the prompt's exact split lowers the hold, once.
4. A client that goes, at any moment, changes nothing upstream: the answer is read to its end, for the books.
5. Every way out, also an error of our own, ends in exactly one settlement.
6. It is handed in before the client sees the end of its answer, and stands before whatever is asked of the ledger
   after it, so that the client's next request finds the money given back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aiohttp import web

from crewcap.core import holding
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import InternalError
from crewcap.gateway.front import headers
from crewcap.gateway.front.outlet import Outlet, Stream, has_left
from crewcap.gateway.money import plan
from crewcap.gateway.money.admission import Admission, Prices, Request
from crewcap.gateway.money.ends import End, Sent, after_first_event, end_of_stream, settlement
from crewcap.gateway.money.purse import Held, Purse
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider import judging
from crewcap.gateway.provider.framing import Unreadable
from crewcap.gateway.provider.freeze import Trouble
from crewcap.gateway.provider.judging import EVENT_STREAM, NO_WORD, First, Judge, read_at_most
from crewcap.gateway.provider.line import Answer
from crewcap.gateway.provider.relay import BROKEN, Relay
from crewcap.gateway.provider.upstream import ERROR_BYTES, Provider, Unsent, Upstream
from crewcap.gateway.provider.watch import Watch
from crewcap.gateway.watching.watchers import Ended
from crewcap.stores import Settlement
from crewcap.wire import Meter, Reading

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What an exchange needs of its gateway."""

    @property
    def purse(self) -> Purse:
        """Where money is held and settled."""
        ...

    @property
    def upstream(self) -> Upstream:
        """The way to providers."""
        ...

    @property
    def book(self) -> Prices:
        """What things cost."""
        ...

    @property
    def policy(self) -> Policy:
        """What this gateway goes by."""
        ...

    def now(self) -> datetime:
        """The wall clock."""
        ...

    def freeze(self, provider: Provider, trouble: Trouble) -> None:
        """A provider's key is out of order."""
        ...

    def failed(self, request: Request) -> bool:
        """The provider failed this very request once more; whether the client should stop asking."""
        ...

    def heard(self, request: Request, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer came."""
        ...

    def ended(self, ended: Ended) -> None:
        """This attempt is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What is sent: the body as it goes out, and the client's headers and query that go with it."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


class Exchange:
    """One attempt; a client's retry is another one with a hold of its own."""

    def __init__(
        self, around: Surroundings, http: web.BaseRequest, request: Request, held: Held, *, attempt: int = 1
    ) -> None:
        self._around = around
        self._attempt = attempt
        self._started = time.monotonic()
        self._first_byte: float | None = None
        self._http = http
        self.request = self._request = request
        order = held.order
        self.held = order.amount  # after an early release, what still is
        self._sent = Sent(
            hold=order.hold,
            held=_as_if_billed(request, order.output_limit) if request.is_notional else order.amount,
            dialect=request.dialect.name,
            prices=request.provider.prices,
            model=request.model,
            cards=request.cards,
            prompt_bound=order.prompt_bound,
            output_limit=max(holding.most_output(request.ask, card, order.output_limit) for card in request.cards),
            write=request.ask.write,
            samplings=request.ask.samplings,
            sent_at=around.now(),
        )
        self._extra = {headers.RUN: request.key.run or request.key.id}
        if held.output < request.asked_output:
            self._extra[headers.CLAMPED] = f"{request.asked_output} -> {held.output}"
        self._reading = Reading()
        self._payer: plan.Payer = "plan" if request.is_notional else "untold"
        self._settled = False
        self._forwarding: Forwarding | None = None  # until the provider has it
        self._upstream_answer: Answer | None = None
        self._expired = ""
        self._limit = asyncio.timeout(None)  # of the time until the answer's head; `_expire` ends it
        self._clocks: Watch | None = None
        self.over = asyncio.Event()

    def load(self, forwarding: Forwarding) -> None:
        """What `run` is to send. Nobody else keeps it: it is as large as the request, and streams are long."""
        self._forwarding = forwarding

    async def run(self) -> web.StreamResponse:
        """Forward and answer; exactly one settlement, on every way out."""
        try:
            return await self._forward()
        finally:
            if self._clocks is not None:
                self._clocks.stop()
                self._clocks = None  # they know us: without this, a request's body waits for the garbage collector
            if not self._settled:
                self._settle("no_answer", status=0, reason="the gateway stopped in the middle")
            self.over.set()

    def let_go(self) -> None:
        """Give the hold back: nothing was sent."""
        self._settle("unsent", status=0, reason="it was not sent after all")

    def hurry(self, drain_s: float) -> None:
        """The run or the gateway is ending: this may take no longer than `drain_s` from now."""
        if self._clocks is not None:
            self._clocks.hurry(drain_s)

    async def _forward(self) -> web.StreamResponse:
        policy, request = self._around.policy, self._request
        judge = Judge(self._around, request, self._extra)
        patience = policy.idle_s if request.ask.stream else 2 * policy.idle_s
        self._clocks = Watch(policy, idle_s=patience, expire=self._expire, is_gone=self._has_left)
        try:
            answer = await self._post()
        except Unsent as unsent:
            self._settle("unsent", status=0, reason=str(unsent))
            raise judge.unsent(str(unsent)) from unsent
        except Unreadable as error:
            raise self._unreadable(judge, str(error), status=0) from error
        except BROKEN as error:
            self._settle("no_answer", status=0, reason=self._expired_why(NO_WORD))
            raise judge.unsure(NO_WORD) from error
        self._upstream_answer = answer
        self._clocks.moved()
        self._first_byte = time.monotonic()
        self._around.heard(request, answer.status, answer.headers)
        self._payer = plan.payer(answer.headers)
        async with answer:
            if not 200 <= answer.status < 300:
                return await self._error(answer, judge)
            if answer.sealed_as:
                raise self._unreadable(judge, judging.sealed_message(answer), status=answer.status)
            if answer.content_type == EVENT_STREAM or (request.ask.stream and request.dialect.streams_json):
                return await self._stream(answer, judge)
            return await self._whole(answer, judge)

    async def _post(self) -> Answer:
        """Send what is to be sent, and let go of it."""
        forwarding, self._forwarding = self._forwarding, None
        if forwarding is None:
            raise InternalError("a request was to be sent twice, or before it was there")
        upstream, provider = self._around.upstream, self._request.provider
        url = provider.url(self._request.path, query=forwarding.query)
        sent = headers.to_provider(forwarding.headers, key=upstream.key_headers(provider))
        return await upstream.post(url, forwarding.body, sent, limit=self._limit)

    # --- a stream

    async def _stream(self, answer: Answer, judge: Judge) -> web.StreamResponse:
        """Pass chunks on as they come, and read them; the client sees nothing before a first event."""
        dialect = self._request.dialect
        first = await self._first_event(answer, judge)
        passed = {**headers.to_client(answer.headers), **self._extra}
        response = Stream(status=answer.status, headers=passed)
        meter = self._new_meter(stream=True)
        relay = Relay(
            Outlet(self._http, response),
            meter=meter,
            sieve=dialect.sieve(self._request.ask),
            watch=self._watch(),
            priced=self._shrink,
        )
        is_broken = await relay.run(answer, first, ping=dialect.ping)
        self._reading = meter.close()
        end = end_of_stream(self._sent.dialect, self._reading, is_broken=is_broken)
        self._settle(end, status=answer.status, reason=self._why(end, is_broken=is_broken))
        if end == "complete" and not relay.is_gone:
            await relay.close()
        else:
            await relay.break_off()
            self._drop_client()
        return response

    async def _first_event(self, answer: Answer, judge: Judge) -> bytes:
        """Everything up to the end of the first event; `TryAgain` where there is none, or it is an error."""
        first = await judging.first_event(answer, self._watch().moved)
        return await self._judged(answer, first, judge) if first.is_suspect else first.seen

    async def _judged(self, answer: Answer, first: First, judge: Judge) -> bytes:
        """What came in place of a first event, read by a meter of its own."""
        meter, seen = self._new_meter(stream=True), first.seen
        reading = meter.feed(seen)
        if first.is_there and (not reading.error or reading.usage is not None):
            return seen
        with suppress(*BROKEN):
            rest = await read_at_most(answer, ERROR_BYTES)
            meter.feed(rest)
            seen += rest
        self._reading = meter.close()
        end = end_of_stream(self._sent.dialect, self._reading, is_broken=first.is_broken)
        if end == "complete":
            return seen
        reason = self._why(end, is_broken=first.is_broken)
        self._settle(end, status=answer.status, reason=reason)
        if not first.is_there:
            raise judge.unsure("the provider broke off before the first event of its answer")
        raise judge.error_event(answer, self._hidden(seen), reason)

    def _new_meter(self, *, stream: bool) -> Meter:
        ask = self._request.ask
        return self._request.dialect.meter(stream=stream, write=ask.write, answers=ask.answers)

    def _shrink(self, reading: Reading) -> None:
        """Early release: the prompt's exact price in place of its bound."""
        around = self._around
        most = after_first_event(self._sent, reading, book=around.book, at=around.now())
        if most is not None and most < self.held:
            around.purse.shrink(self._sent.hold, most)
            self.held = most

    # --- a whole answer

    async def _whole(self, answer: Answer, judge: Judge) -> web.StreamResponse:
        """Read an answer that is one JSON text, then send it with its cost."""
        meter = self._new_meter(stream=False)
        try:
            body = self._hidden(await answer.read())
        except BROKEN as error:
            self._settle("no_answer", status=answer.status, reason=self._why("no_answer", is_broken=True))
            raise judge.unsure("the provider broke off its answer") from error
        meter.feed(body)
        self._reading = meter.close()
        end: End = "complete" if self._reading.is_complete else "no_answer"
        settled = self._settle(end, status=answer.status, reason=self._why(end, is_broken=False))
        cost = {headers.COST: settled.spent.exact()} if settled.kind == "settled" else {}
        passed = headers.to_client(answer.headers)
        return web.Response(status=answer.status, headers={**passed, **self._extra, **cost}, body=body)

    # --- an error

    async def _error(self, answer: Answer, judge: Judge) -> web.StreamResponse:
        """A plain error: unbilled if it is whole."""
        try:
            body = self._hidden(await read_at_most(answer, ERROR_BYTES))
            if answer.sealed_as:
                body = judge.in_our_words(answer)
        except BROKEN as error:
            self._settle("no_answer", status=answer.status, reason="the provider broke off an error")
            raise judge.unsure("the provider broke off its answer") from error
        self._settle("plain_error", status=answer.status, reason=f"the provider answered {answer.status}")
        return judge.plain_error(answer, body)

    def _hidden(self, body: bytes) -> bytes:
        """What the provider said, without its key, before anybody reads it."""
        return self._around.upstream.hide_key(self._request.provider, body)

    def _unreadable(self, judge: Judge, why: str, *, status: int) -> Exception:
        """An answer came, and nobody can tell what it cost."""
        self._settle("no_answer", status=status, reason=why)
        return judge.unreadable(why, status=status)

    # --- ends

    def _settle(self, end: End, *, status: int, reason: str = "") -> Settlement:
        """Book the end, once, and hand it to the ledger."""
        around = self._around
        closed = settlement(
            self._sent, end, self._reading, book=around.book, at=around.now(), status=status, reason=reason
        )
        if self._request.provider.is_plan:
            closed = plan.notional(closed, self._payer)
        if not self._settled:
            self._settled = True
            around.purse.settle(closed)
            if closed.incident:
                self._incident(closed)
            self._tell(closed, end, status)
        return closed

    def _tell(self, closed: Settlement, end: End, status: int) -> None:
        self._around.ended(
            Ended(
                request=self._request,
                sent=self._sent,
                reading=self._reading,
                closed=closed,
                end=end,
                status=status,
                started=self._started,
                first_byte=self._first_byte,
                over=time.monotonic(),
                attempt=self._attempt,
            )
        )

    def _incident(self, closed: Settlement) -> None:
        """An answer broke what holds rest on: no capped request goes to this key until somebody has looked."""
        log.error("incident at provider %s: %s", self._request.provider.name, closed.incident)
        reason = f"an answer broke what holds rest on: {closed.incident}"
        self._around.freeze(self._request.provider, Trouble(kind="incident", reason=reason))

    def _why(self, end: End, *, is_broken: bool) -> str:
        """Why an answer has no proper end, in words for the books; '' where it has one."""
        if end == "complete":
            return ""
        if self._reading.error:
            return f"error event: {self._reading.error}"
        return self._expired_why("the provider broke off" if is_broken else "the answer has no end")

    def _expired_why(self, otherwise: str) -> str:
        """What ran out, where it was one of our own clocks that ended it."""
        expired = {
            "provider": "the provider was silent for too long",
            "drain": "the client left and the answer did not end in time",
        }
        return expired.get(self._expired, otherwise)

    def _drop_client(self) -> None:
        """An answer that was cut must look cut: no proper end of the body."""
        if self._http.transport is not None:
            self._http.transport.abort()

    def _expire(self, what: str) -> None:
        """A clock ran out."""
        if what == "client":
            self._drop_client()
            return
        self._expired = what
        if self._upstream_answer is not None:
            self._upstream_answer.close()
        else:
            self._limit.reschedule(0)

    def _has_left(self) -> bool:
        """Whether the client's connection is gone, although nothing was written to it yet."""
        return has_left(self._http)

    def _watch(self) -> Watch:
        assert self._clocks is not None  # noqa: S101  (made before anything is read)
        return self._clocks


def _as_if_billed(request: Request, output: int) -> Money:
    """What would be held for a request that a subscription pays for."""
    try:
        return Admission.amount(request, output)
    except UnknownPrice:
        return ZERO
