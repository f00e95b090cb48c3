"""What the gateway answers: the list of paths, and the way of a metered request from its bytes to its hold.

An unknown path is 404; there is no way through to a provider but the two that are written here.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from aiohttp import web

from crewcap.core.asks import Ask
from crewcap.core.budget import BootId, Denied, HoldId, KeyId, Refused
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.gateway import headers
from crewcap.gateway.admission import Admission, Counts, Prices, Request
from crewcap.gateway.answers import Refusal, as_json, budget_message, not_found, response, waiting_message
from crewcap.gateway.choosing import Want
from crewcap.gateway.doors import Door, Doors
from crewcap.gateway.exchange import Exchange, Forwarding, frozen_message, has_left
from crewcap.gateway.freeze import Freezer, Trouble
from crewcap.gateway.policy import Policy
from crewcap.gateway.purse import Held, Purse, TimedOut, Withdrawn
from crewcap.gateway.rates import Failures, PerMinute
from crewcap.gateway.upstream import PROBE_S, Provider, Unsent, Upstream
from crewcap.stores import Ledger
from crewcap.wire import Malformed, RefusalKind

log = logging.getLogger(__name__)

KEY_KEPT_S = 2.0  # a key's own row; whether it may pay is asked of the ledger each time
LARGE_BODY = 2**18  # read outside the event loop
RETRY_AFTER_S = 10
AGENT = "x-claude-code-agent-id"
PARENT_AGENT = "x-claude-code-parent-agent-id"

_DENIED: Mapping[str, RefusalKind] = {
    "key_unknown": "key",
    "key_expired": "key",
    "key_revoked": "key",
    "turn_limit": "turns",
    "clock": "unavailable",
    "model_not_allowed": "not_allowed",
}

Route = Callable[[Door, web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Kept:
    key: VirtualKey
    until: float


class Service:
    """The requests of one running gateway."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        purse: Purse,
        upstream: Upstream,
        book: Prices,
        provider: Provider,
        policy: Policy,
        boot: BootId,
        freezer: Freezer,
        clock: Callable[[], datetime],
    ) -> None:
        self.purse = purse
        self.upstream = upstream
        self.book = book
        self.policy = policy
        self._ledger = ledger
        self._provider = provider
        self._freezer = freezer
        self._clock = clock
        self._admission = Admission(book=book, policy=policy, boot=boot)
        self._counts = Counts()
        self._count_rate = PerMinute(policy.counts_per_minute, time.monotonic)
        self._failures = Failures(time.monotonic)
        self._keys: dict[str, _Kept] = {}
        self.doors = Doors(self.handle)
        self.exchanges: dict[Exchange, VirtualKey] = {}
        self.is_ending = False
        self._routes: Mapping[tuple[str, str], Route] = {
            ("POST", "/v1/messages"): self._messages,
            ("POST", "/v1/messages/count_tokens"): self._count_tokens,
            ("GET", "/v1/models"): self._models,
            ("GET", "/healthz"): self._healthz,
            **{(method, path): self._probe for method in ("GET", "HEAD") for path in ("/", "/api/hello")},
        }

    async def handle(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing that goes wrong in here shows more than a sentence."""
        route = self._routes.get((http.method, http.path))
        if route is None:
            return not_found(http.path)
        try:
            return await route(door, http)
        except Refusal as refusal:
            return response(refusal.answer(self._provider.dialect))
        except Exception:
            log.exception("a request could not be served")
            sorry = Refusal("unavailable", "crewcap could not book or serve this request")
            return response(sorry.answer(self._provider.dialect))

    # --- what an exchange needs of its gateway

    def now(self) -> datetime:
        """The wall clock."""
        return self._clock()

    def freeze(self, provider: Provider, trouble: Trouble) -> None:
        """A provider's key is out of order; said once in the log."""
        if self._freezer.freeze(provider.name, trouble):
            log.error("%s", frozen_message(provider, trouble))

    def failed(self, request: Request, body: bytes) -> bool:
        """The provider failed this very request once more; whether the client should stop asking."""
        return self._failures.add(hashlib.sha256(request.key.id.encode() + body).digest())

    def forget_key(self, key_id: KeyId) -> None:
        """A key changed: its row is read again."""
        self._keys = {digest: kept for digest, kept in self._keys.items() if kept.key.id != key_id}

    # --- metered requests

    async def _messages(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        found, key, body = await self._read(door, http)
        ask = await self._ask(body, found)
        is_capped = await self._is_capped(key)
        if is_capped and ask.refusals:
            raise Refusal("not_allowed", " ".join(ask.refusals))
        request = self._request(key, ask, found, body)
        self._refuse_frozen(request.model, is_capped=is_capped)

        def is_gone() -> bool:
            return has_left(http) or not self.doors.lets_in(door, key.id)

        held = await self._hold(request, is_gone)
        exchange = Exchange(self, http, request, held)
        try:
            self._refuse_too_late(is_gone)
            self._refuse_frozen(request.model, is_capped=is_capped)  # perhaps it was frozen while this one waited
            body = self._outgoing(body, request, held)
        except BaseException:
            exchange.let_go()
            raise
        self.exchanges[exchange] = key
        try:
            return await exchange.run(Forwarding(body=body, headers=found, query=_query(http)))
        finally:
            del self.exchanges[exchange]

    def _refuse_too_late(self, is_gone: Callable[[], bool]) -> None:
        if self.is_ending or is_gone():
            raise Refusal("unavailable", "nothing was sent: the client left, or the gateway is ending")

    @staticmethod
    def _outgoing(body: bytes, request: Request, held: Held) -> bytes:
        """The body with the output limit that was held, if that is another one, and with our tier."""
        is_lowered = held.output != request.ask.max_output or held.output < request.asked_output
        return request.provider.dialect.rewrite(body, max_output=held.output if is_lowered else None)

    async def _read(self, door: Door, http: web.BaseRequest) -> tuple[dict[str, str], VirtualKey, bytes]:
        """Headers, key and body, refused in that order."""
        try:
            found = headers.read(http.headers.items())
            key = await self._key(door, headers.bearer(found))
        except headers.HeaderError as error:
            raise Refusal("malformed", str(error)) from error
        if found.get("content-encoding", "identity").lower() != "identity":
            raise Refusal("malformed", "the body is encoded (content-encoding); send it plain")
        return found, key, await self._body(http)

    async def _key(self, door: Door, secret: str) -> VirtualKey:
        """The key's row, if it is known, alive and at the right door."""
        if not secret:
            raise Refusal(
                "key", "send a crewcap key, as x-api-key or as a bearer token; `crewcap key create` makes one"
            )
        digest, now = hash_key(secret), time.monotonic()
        kept = self._keys.get(digest)
        if kept is None or kept.until < now:
            row = await self.purse.do(self._ledger.find_key, digest)
            if row is None:
                raise Refusal("key", "this key is not known to this gateway")
            kept = self._keys[digest] = _Kept(row, now + KEY_KEPT_S)
        key, at = kept.key, self._clock()
        if key.revoked_at is not None:
            raise Refusal("key", f"key {key.id} was revoked")
        if key.expires_at is not None and at >= key.expires_at:
            raise Refusal("key", f"key {key.id} expired at {key.expires_at:%Y-%m-%d %H:%M} UTC")
        if not self.doors.lets_in(door, key.id):
            log.warning("key %s was shown at the door %s, where it does not belong", key.id, door.name)
            raise Refusal("key", f"key {key.id} does not open this door")
        return key

    async def _body(self, http: web.BaseRequest) -> bytes:
        """The whole body, if it is not too large."""
        limit = self.policy.body_bytes
        too_large = Refusal("too_large", f"the body is larger than {limit // 2**20} MB")
        if (http.content_length or 0) > limit:
            raise too_large
        if http.headers.get("expect", "").lower() == "100-continue":
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async with asyncio.timeout(self.policy.idle_s):
                while chunk := await http.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refusal("malformed", "the body ended too early") from error
        return bytes(body)

    async def _ask(self, body: bytes, found: Mapping[str, str]) -> Ask:
        """What the body asks for; a large one is read in a thread."""
        dialect, allow = self._provider.dialect, self.policy.allow
        try:
            if len(body) < LARGE_BODY:
                return dialect.ask(body, found, allow=allow)
            return await asyncio.to_thread(dialect.ask, body, found, allow=allow)
        except Malformed as error:
            raise Refusal("malformed", str(error)) from error

    def _request(self, key: VirtualKey, ask: Ask, found: Mapping[str, str], body: bytes) -> Request:
        """The request with its model, its cards and its limits."""
        at = self._clock()
        model = self._admission.model(key, self._provider, ask, at=at)
        cards = self._admission.cards(self._provider, ask, at=at)
        limited = self._admission.limited(key, ask, cards)
        return Request(
            hold=HoldId(f"hold-{time.time_ns():016x}{secrets.token_hex(6)}"),
            key=key,
            provider=self._provider,
            ask=limited,
            asked_output=ask.max_output or limited.max_output or 0,
            model=model,
            cards=cards,
            count=lambda: self._count(body, found),
            agent=found.get(AGENT, "")[:80],
            parent_agent=found.get(PARENT_AGENT, "")[:80],
            notes=ask.notes,
        )

    async def _count(self, body: bytes, found: Mapping[str, str]) -> int | None:
        """Prompt tokens by the provider's free count call, asked once for each body."""
        counted = self._provider.dialect.count_body(body)
        sent = headers.to_provider(found, key=self.upstream.key_headers(self._provider))
        betas = sent.get("anthropic-beta", "")
        return await self._counts.get(counted, betas, lambda: self.upstream.count(self._provider, counted, sent))

    async def _is_capped(self, key: VirtualKey) -> bool:
        """Whether any money limit is in force for the key: its own, or one of a scope above it."""
        return key.capped or bool(await self.purse.do(self._ledger.balances, key.id))

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
                raise Refusal("wait", message, retry_after_s=RETRY_AFTER_S)
            case Withdrawn(reason):
                raise Refusal("unavailable", f"nothing was sent: {reason}")
            case Denied():
                self._note(want, request, outcome.message)
                raise Refusal(_DENIED[outcome.code], outcome.message)
            case Refused():
                message = budget_message(outcome)
                self._note(want, request, message)
                raise Refusal("budget", message)

    def _note(self, want: Want, request: Request, message: str) -> None:
        self.purse.note_refusal(request.key.id, model=request.model, needed=want.least, message=message)

    def _refuse_frozen(self, model: str, *, is_capped: bool) -> None:
        trouble = self._freezer.blocks(self._provider.name, model, is_capped=is_capped, now=self._clock())
        if trouble is not None:
            raise Refusal("frozen", frozen_message(self._provider, trouble))

    # --- what is free

    async def _count_tokens(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """The provider's count call, for a key that exists, at a bounded rate."""
        found, key, body = await self._read(door, http)
        wait_s = self._count_rate.take(key.id)
        if wait_s:
            raise Refusal("wait", "too many count calls of this key", retry_after_s=math.ceil(wait_s))
        self._refuse_frozen("", is_capped=False)
        url = self._provider.url("/v1/messages/count_tokens", query=_query(http))
        sent = headers.to_provider(found, key=self.upstream.key_headers(self._provider))
        try:
            answer = await self.upstream.post(url, body, sent, limit=asyncio.timeout(PROBE_S))
            async with answer:
                counted = await answer.read()
        except (Unsent, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refusal("provider", "the provider could not be reached") from error
        if answer.status in {401, 403}:
            raise Refusal("frozen", f"the provider does not accept its key ({answer.status})")
        return web.Response(status=answer.status, headers=headers.to_client(answer.headers), body=counted)

    async def _models(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Models that this key may use and that have a price."""
        found = headers.read(http.headers.items())
        key = await self._key(door, headers.bearer(found))
        known = self.book.models(self._provider.prices)
        names = [name for name in known if not key.models or name in key.models]
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"} for name in names
        ]
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return as_json({"data": data, "has_more": False, **ends})

    async def _healthz(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        del door, http
        return as_json({"status": "ending" if self.is_ending else "ok"}, status=503 if self.is_ending else 200)

    async def _probe(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        del door, http
        return as_json({"service": "crewcap gateway"})


def _query(http: web.BaseRequest) -> dict[str, str]:
    """The one query parameter that providers' clients send and that means something."""
    return {"beta": "true"} if http.query.get("beta") == "true" else {}
