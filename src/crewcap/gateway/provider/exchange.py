"""One metered request, from the granted hold to its settlement, whatever becomes of client or provider.

The order that makes the books true:

1. The hold is on the disk before the first byte goes out.
2. Chunks pass through untouched; the meter reads them as they pass.
3. The first event with the prompt's exact split lowers the hold, once.
4. A client that goes, at any moment, changes nothing upstream: the answer is read to its end, for the books.
5. Every way out, also an error of our own, ends in exactly one settlement.
6. It is handed to the ledger's thread before the client sees the end of its answer, so that the client's next
   request finds the money given back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import aiohttp
from aiohttp import web

from crewcap.core import holding
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import UnknownPrice
from crewcap.gateway.front import headers
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.money import plan
from crewcap.gateway.money.admission import Admission, Prices, Request
from crewcap.gateway.money.ends import End, Sent, after_first_event, end_of_stream, settlement
from crewcap.gateway.money.purse import Held, Purse
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.attempts import NO_RETRY, TryAgain, may_be_mended, told_to_wait
from crewcap.gateway.provider.freeze import Trouble, diagnose
from crewcap.gateway.provider.upstream import ERROR_BYTES, Provider, Unsent, Upstream
from crewcap.gateway.provider.watch import Watch
from crewcap.gateway.watching.watchers import Ended
from crewcap.stores import Settlement
from crewcap.wire import Meter, Reading

log = logging.getLogger(__name__)

BROKEN = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)
EVENT_STREAM = "text/event-stream"
FIRST_BYTES = 2**16
NO_WORD = "the provider closed the connection without an answer"


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

    def failed(self, request: Request, body: bytes) -> bool:
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
        self._is_gone = False
        self._upstream_answer: aiohttp.ClientResponse | None = None
        self._expired = ""
        self._limit = asyncio.timeout(None)  # of the time until the answer's head; `_expire` ends it
        self._clocks: Watch | None = None
        self._pinging: asyncio.Future[None] | None = None
        self.over = asyncio.Event()

    async def run(self, forwarding: Forwarding) -> web.StreamResponse:
        """Forward and answer; exactly one settlement, on every way out."""
        try:
            return await self._forward(forwarding)
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

    async def _forward(self, forwarding: Forwarding) -> web.StreamResponse:
        policy, request, provider = self._around.policy, self._request, self._request.provider
        url = provider.url(request.path, query=forwarding.query)
        sent = headers.to_provider(forwarding.headers, key=self._around.upstream.key_headers(provider))
        patience = policy.idle_s if request.ask.stream else 2 * policy.idle_s
        self._clocks = Watch(policy, idle_s=patience, expire=self._expire, is_gone=self._has_left)
        try:
            answer = await self._around.upstream.post(url, forwarding.body, sent, limit=self._limit)
        except Unsent as unsent:
            self._settle("unsent", status=0, reason=str(unsent))
            reason = f"the provider could not be reached: {unsent}"
            raise TryAgain(Refusal("provider", reason), status=0, reason=reason, is_failure=True) from unsent
        except BROKEN as error:
            self._settle("no_answer", status=0, reason=self._expired_why(NO_WORD))
            raise self._unsure(NO_WORD, forwarding.body) from error
        self._upstream_answer = answer
        self._clocks.last = asyncio.get_running_loop().time()
        self._first_byte = time.monotonic()
        self._around.heard(request, answer.status, answer.headers)
        self._payer = plan.payer(answer.headers)
        async with answer:
            if not 200 <= answer.status < 300:
                return await self._error(answer, forwarding.body)
            if answer.content_type == EVENT_STREAM or (request.ask.stream and request.dialect.streams_json):
                return await self._stream(answer, forwarding.body)
            return await self._whole(answer, forwarding.body)

    # --- a stream

    async def _stream(self, answer: aiohttp.ClientResponse, sent: bytes) -> web.StreamResponse:
        """Pass chunks on as they come, and read them; the client sees nothing before a first event."""
        first = await self._first_event(answer, sent)
        response = web.StreamResponse(
            status=answer.status, headers={**headers.to_client(answer.headers), **self._extra}
        )
        write: Callable[[bytes], Awaitable[None]] = response.write
        try:
            if (writer := await response.prepare(self._http)) is not None:
                write = writer.write  # what `response.write` would call, once for each chunk of each stream
        except OSError:  # aiohttp raises here when the client left before the first byte
            self._leave()
        self._keep_alive(write)
        is_broken = await self._pump(answer, write, first)
        self._reading = self._meter.close()
        end = end_of_stream(self._sent.dialect, self._reading, is_broken=is_broken)
        self._settle(end, status=answer.status, reason=self._why(end, is_broken=is_broken))
        if end == "complete" and not self._is_gone:
            await self._finish(response)
        else:
            self._drop_client()
        return response

    def _keep_alive(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """While the provider is silent the client hears that it is waited for: between two events, and nowhere else."""
        word, watch = self._request.dialect.ping, self._watch()

        async def say() -> None:
            is_between = watch.tail.endswith((b"\n\n", b"\r\n\r\n"))
            if is_between and not (watch.writing or self._is_gone or self._settled):
                with suppress(OSError):
                    await write(word)

        def ping() -> None:
            self._pinging = asyncio.ensure_future(say())

        watch.ping = ping if word else None

    async def _first_event(self, answer: aiohttp.ClientResponse, sent: bytes) -> bytes:
        """Everything up to the end of the first event; `TryAgain` where there is none, or it is an error."""
        seen, is_broken, watch, loop = b"", False, self._watch(), asyncio.get_running_loop()
        try:
            while not _has_event(seen, answer.content_type) and (chunk := await answer.content.readany()):
                watch.last = loop.time()
                seen += chunk
        except BROKEN:
            is_broken = True
        is_there = _has_event(seen, answer.content_type)
        if is_there and b"error" not in seen:  # all but every answer
            return seen
        return await self._judged(answer, seen, sent, is_there=is_there, is_broken=is_broken)

    async def _judged(
        self, answer: aiohttp.ClientResponse, seen: bytes, sent: bytes, *, is_there: bool, is_broken: bool
    ) -> bytes:
        """What came in place of a first event, read by a meter of its own."""
        meter = self._new_meter(stream=True)
        reading = meter.feed(seen)
        if is_there and (not reading.error or reading.usage is not None):
            return seen
        with suppress(*BROKEN):
            rest = await _read_at_most(answer, ERROR_BYTES)
            meter.feed(rest)
            seen += rest
        self._reading = meter.close()
        end = end_of_stream(self._sent.dialect, self._reading, is_broken=is_broken)
        if end == "complete":
            return seen
        reason = self._why(end, is_broken=is_broken)
        self._settle(end, status=answer.status, reason=reason)
        if not is_there:
            raise self._unsure("the provider broke off before the first event of its answer", sent)
        raise TryAgain(
            self._passed(answer, seen),
            status=answer.status,
            reason=f"the provider's answer was an {reason}",
            is_failure=True,
            may_be_billed=True,
        )

    async def _pump(
        self, answer: aiohttp.ClientResponse, write: Callable[[bytes], Awaitable[None]], first: bytes
    ) -> bool:
        """Every chunk to the meter and to the client; whether the provider broke off."""
        meter, sieve = self._new_meter(stream=True), self._request.dialect.sieve(self._request.ask)
        watch, loop = self._watch(), asyncio.get_running_loop()
        read, feed, shrunk, chunk = answer.content.readany, meter.feed, False, first
        try:
            while chunk:
                watch.last = loop.time()
                reading = feed(chunk)
                if not shrunk and reading.prompt_is_exact:
                    shrunk = True
                    self._shrink(reading)
                if self._is_gone:
                    if reading.is_complete:
                        return False
                elif sieve is None or (chunk := sieve.feed(chunk)):
                    watch.writing = True
                    try:
                        await write(chunk)
                    except OSError:
                        self._leave()
                    watch.writing = False
                    watch.tail = chunk
                chunk = await read()
        except BROKEN:
            return True
        finally:
            if sieve is not None and not self._is_gone:
                await self._write_rest(write, sieve.close())
        return False

    async def _write_rest(self, write: Callable[[bytes], Awaitable[None]], rest: bytes) -> None:
        """What a sieve still had when the stream was over."""
        try:
            if rest:
                await write(rest)
        except OSError:
            self._leave()

    def _new_meter(self, *, stream: bool) -> Meter:
        ask = self._request.ask
        self._meter = self._request.dialect.meter(stream=stream, write=ask.write, answers=ask.answers)
        return self._meter

    def _shrink(self, reading: Reading) -> None:
        """Early release: the prompt's exact price in place of its bound."""
        around = self._around
        most = after_first_event(self._sent, reading, book=around.book, at=around.now())
        if most is not None and most < self.held:
            around.purse.shrink(self._sent.hold, most)
            self.held = most

    # --- a whole answer

    async def _whole(self, answer: aiohttp.ClientResponse, sent: bytes) -> web.StreamResponse:
        """Read an answer that is one JSON text, then send it with its cost."""
        meter = self._new_meter(stream=False)
        try:
            body = await answer.read()
        except BROKEN as error:
            self._settle("no_answer", status=answer.status, reason=self._why("no_answer", is_broken=True))
            raise self._unsure("the provider broke off its answer", sent) from error
        meter.feed(body)
        self._reading = meter.close()
        end: End = "complete" if self._reading.is_complete else "no_answer"
        settled = self._settle(end, status=answer.status, reason=self._why(end, is_broken=False))
        cost = {headers.COST: settled.spent.exact()} if settled.kind == "settled" else {}
        passed = headers.to_client(answer.headers)
        return web.Response(status=answer.status, headers={**passed, **self._extra, **cost}, body=body)

    # --- an error

    async def _error(self, answer: aiohttp.ClientResponse, sent: bytes) -> web.StreamResponse:
        """A plain error: unbilled if it is whole; some of them mean that the provider's key is out of order."""
        try:
            body = await _read_at_most(answer, ERROR_BYTES)
        except BROKEN as error:
            self._settle("no_answer", status=answer.status, reason="the provider broke off an error")
            raise self._unsure("the provider broke off its answer", sent) from error
        self._settle("plain_error", status=answer.status, reason=f"the provider answered {answer.status}")
        trouble = diagnose(answer.status, body, model=self._request.model)
        if trouble is not None:
            self._around.freeze(self._request.provider, trouble)
            raise Refusal("frozen", frozen_message(self._request.provider, trouble))
        if answer.status in {301, 302, 303, 307, 308}:
            raise Refusal("provider", "the provider redirects elsewhere, and redirects are not followed")
        passed = self._passed(answer, body)
        if not may_be_mended(answer.status):
            return passed
        if self._around.failed(self._request, sent):
            passed.headers.update(NO_RETRY)
        raise TryAgain(
            passed,
            status=answer.status,
            reason=f"the provider answered {answer.status}",
            retry_after_s=told_to_wait(answer.headers, body, now=self._around.now()),
            is_failure=answer.status >= 500,
        )

    def _passed(self, answer: aiohttp.ClientResponse, body: bytes) -> web.Response:
        """The provider's own answer."""
        passed = {**headers.to_client(answer.headers), **self._extra}
        return web.Response(status=answer.status, headers=passed, body=body)

    def _unsure(self, message: str, sent: bytes) -> TryAgain:
        """Nothing whole came back: it may have been billed."""
        return TryAgain(self._storm(sent, message), status=0, reason=message, is_failure=True, may_be_billed=True)

    def _storm(self, sent: bytes, message: str) -> Refusal:
        """The refusal for a provider's failure; final when the same request has failed too often."""
        if self._around.failed(self._request, sent):
            return Refusal("frozen", f"{message}, again and again; crewcap stops trying")
        return Refusal("provider", message)

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

    async def _finish(self, response: web.StreamResponse) -> None:
        try:
            await response.write_eof()
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """The client is gone; go on for the books."""
        if not self._is_gone:
            self._is_gone = True
            self._watch().drain()

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


def has_left(http: web.BaseRequest) -> bool:
    """Whether the client's connection is gone."""
    return http.transport is None or http.transport.is_closing()


def frozen_message(provider: Provider, trouble: Trouble) -> str:
    """What the client of a frozen key is told."""
    until = f" until {trouble.until:%Y-%m-%d %H:%M} UTC" if trouble.until else ""
    remedy = f"; when you have looked: crewcap ledger thaw {provider.name}" if trouble.kind == "incident" else ""
    return f"provider {provider.name} is frozen{until}: {trouble.reason}{remedy}"


async def _read_at_most(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """A whole body, of which no more than `limit` bytes are kept."""
    kept = bytearray()
    while chunk := await answer.content.readany():
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)


def _has_event(seen: bytes, content_type: str) -> bool:
    """Whether the first event is whole; where it has no end for so long, others may judge what it is."""
    if content_type != EVENT_STREAM:
        return bool(seen)
    return b"\n\n" in seen or b"\r\n\r\n" in seen or len(seen) > FIRST_BYTES


def _as_if_billed(request: Request, output: int) -> Money:
    """What would be held for a request that a subscription pays for."""
    try:
        return Admission.amount(request, output)
    except UnknownPrice:
        return ZERO
