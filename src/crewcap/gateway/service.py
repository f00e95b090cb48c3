"""What the gateway answers: the list of paths. An unknown path is 404, and goes nowhere."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import aiohttp
from aiohttp import web

from crewcap.core.keys import VirtualKey
from crewcap.errors import LedgerError
from crewcap.gateway.front import headers, listing, paths
from crewcap.gateway.front.answers import Refusal, as_json, response
from crewcap.gateway.front.callers import Callers
from crewcap.gateway.front.doors import Door, Doors
from crewcap.gateway.front.endpoints import Endpoint, Endpoints
from crewcap.gateway.metered import Metered
from crewcap.gateway.money.purse import Purse
from crewcap.gateway.parts import Parts
from crewcap.gateway.provider.exchange import Exchange
from crewcap.gateway.provider.freeze import diagnose
from crewcap.gateway.provider.judging import sealed_message
from crewcap.gateway.provider.rates import PerMinute
from crewcap.gateway.provider.upstream import PROBE_S, Unsent
from crewcap.gateway.watching.exposition import CONTENT_TYPE
from crewcap.gateway.watching.journal import Journal
from crewcap.gateway.watching.metrics import Held, Metrics, Snapshot, model_of
from crewcap.gateway.watching.watchers import Declined, Watcher, tell_declined

log = logging.getLogger(__name__)

METRICS = "/metrics"
STAYS = frozenset({"/healthz", METRICS})  # what a gateway that is ending still answers
ENDING_S = 5
MODELS = re.compile(r"/v1(?:beta)?/models(?:/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,127}))?")
WEBSOCKETS = frozenset({"/v1/responses", "/v1/chat/completions"})  # paths that clients may try to upgrade

Route = Callable[[Door, web.BaseRequest], Awaitable[web.StreamResponse]]


class Service:
    """The requests of one running gateway."""

    def __init__(self, parts: Parts, endpoints: Endpoints, *, watchers: Sequence[Watcher] = ()) -> None:
        self.metrics = Metrics()
        self.watchers: list[Watcher] = [self.metrics, Journal(), *watchers]
        parts.purse.time_rounds(self.metrics.ledger_round)
        self.doors = Doors(self.handle)
        self.callers = Callers(parts, self.doors)
        self.metered = Metered(parts, callers=self.callers, doors=self.doors, watchers=self.watchers)
        self._parts = parts
        self._endpoints = endpoints
        self._started_at = parts.clock().timestamp()
        self._count_rate = PerMinute(parts.policy.counts_per_minute, time.monotonic)
        self._routes: Mapping[tuple[str, str], Route] = {
            ("GET", "/healthz"): self._healthz,
            ("GET", METRICS): self._metrics,
            **{(method, path): self._probe for method in ("GET", "HEAD") for path in ("/", "/api/hello")},
        }

    @property
    def purse(self) -> Purse:
        """Where money is held and settled."""
        return self._parts.purse

    @property
    def exchanges(self) -> dict[Exchange, VirtualKey]:
        """What is under way."""
        return self.metered.exchanges

    def end(self) -> None:
        """Take nothing new: whatever comes is told to come again later, or elsewhere."""
        self.metered.ending.set()
        self.metered.fan_outs.send_home()

    def renew(self, parts: Parts, endpoints: Endpoints) -> None:
        """Go by another book, policy and list of providers, from the next request on."""
        self._parts, self._endpoints = parts, endpoints
        self.callers.renew(parts)
        self.metered = self.metered.renewed(parts)

    async def handle(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing that goes wrong in here shows more than a sentence."""
        try:
            path = paths.path_of(http)
            if self.metered.ending.is_set() and path not in STAYS:
                return self._elsewhere(http)
            return await self._route(door, http, path)(door, http)
        except Refusal as refusal:
            return self._declined(http, refusal)
        except LedgerError as error:
            log.error("a request was not booked, and so not sent: %s", error.message)  # noqa: TRY400  (it is known why)
            return self._declined(http, Refusal("unavailable", "crewcap cannot book this request now"))
        except Exception:
            log.exception("a request could not be served")
            return self._declined(http, Refusal("unavailable", "crewcap could not book or serve this request"))

    def _route(self, door: Door, http: web.BaseRequest, path: str) -> Route:
        """Who answers."""
        if http.method == "POST":
            if endpoint := self._endpoints.metered(path):
                return partial(self.metered.answer, endpoint)
            if endpoint := self._endpoints.counting(path):
                return partial(self._count_tokens, endpoint)
        if http.method == "GET" and (asked := MODELS.fullmatch(path)):
            return partial(self._models, asked["name"])
        if path in WEBSOCKETS and http.method == "GET" and "upgrade" in http.headers:
            return self._no_websocket
        if self._endpoints.metered(path) or self._endpoints.counting(path):
            raise Refusal("method", f"{path} is asked with POST")
        route = self._routes.get((http.method, path))
        if route is None or (path == METRICS and door.key is not None):
            raise paths.nothing_there(path, self._endpoints.families)
        return route

    def _elsewhere(self, http: web.BaseRequest) -> web.Response:
        """Nothing new is taken: the client is told to come again, over another connection."""
        ending = Refusal("unavailable", "this gateway is ending and takes nothing new", retry_after_s=ENDING_S)
        answer = self._declined(http, ending)
        answer.headers["retry-after"] = str(ENDING_S)
        answer.force_close()
        return answer

    def _declined(self, http: web.BaseRequest, refusal: Refusal) -> web.Response:
        """Say no, in the shape of the client's family, and tell those who watch."""
        family = paths.family_of(http.raw_path.partition("?")[0], http.headers, self._endpoints.families)
        tell_declined(
            self.watchers,
            Declined(
                kind=refusal.kind,
                dialect=family,
                key=refusal.key,
                run=refusal.run,
                message=refusal.message,
                unpriced=refusal.unpriced,
            ),
        )
        answer = response(refusal.answer(paths.speaker(family)))
        if refusal.kind == "method":
            answer.headers["allow"] = "POST"
        if refusal.kind == "too_large":
            answer.force_close()  # what is still to come would only be read to be thrown away
        return answer

    # --- what is free

    async def _count_tokens(self, endpoint: Endpoint, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """The provider's count call, for a key that exists, at a bounded rate."""
        call = await self.callers.read(door, http)
        provider = endpoint.provider
        wait_s = self._count_rate.take(call.key.id)
        if wait_s:
            raise Refusal("wait", "too many count calls of this key", retry_after_s=math.ceil(wait_s))
        self.metered.refuse_frozen(provider, "", is_capped=False)
        url = provider.url(paths.path_of(http), query=headers.query(http.query))
        sent = headers.to_provider(call.headers, key=self._parts.upstream.key_headers(provider))
        try:
            answer = await self._parts.upstream.post(url, call.body, sent, limit=asyncio.timeout(PROBE_S))
            async with answer:
                counted = self._parts.upstream.hide_key(provider, await answer.read())
        except (Unsent, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refusal("provider", "the provider could not be reached") from error
        if answer.sealed_as:
            raise Refusal("provider", sealed_message(answer))
        if answer.status >= 400 and diagnose(answer.status, counted, model="") is not None:
            raise Refusal("frozen", f"the provider does not accept its key ({answer.status})")
        return web.Response(status=answer.status, headers=headers.to_client(answer.headers), body=counted)

    async def _models(self, name: str | None, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Models that this key may use and that have a price: all of them, or one."""
        path = paths.path_of(http)
        found, key = await self.callers.known(door, http)
        family = paths.family_of(path, found, self._endpoints.families)
        endpoint = self._endpoints.of(family)
        if endpoint is None:
            raise paths.nothing_there(path, self._endpoints.families)
        book, prices, at = self._parts.book, endpoint.provider.prices, self._parts.clock()
        if name is None:
            return as_json(listing.page(family, list(listing.offered(book, prices, family, key, at=at))))
        model = listing.find(book, prices, name, key, at=at)
        if model is None:
            raise Refusal("not_found", f"the model {name!r} has no price here, or this key may not use it")
        return as_json(listing.entry(family, model))

    async def _no_websocket(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Codex tries one first, and goes on without it at once when told so; any other answer costs it seven tries."""
        del door, http
        refusal = Refusal("malformed", "crewcap speaks no WebSocket; send a POST")
        answer = response(replace(refusal.answer(paths.speaker("openai")), status=426))
        answer.headers["upgrade"] = "HTTP/1.1"
        answer.force_close()
        return answer

    async def _healthz(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        del door, http
        is_ending = self.metered.ending.is_set()
        return as_json({"status": "ending" if is_ending else "ok"}, status=503 if is_ending else 200)

    async def _metrics(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """For a scraper on this machine; a run's door has no such page, because what is in here is not the agent's."""
        del door, http
        return web.Response(body=self.metrics.render(self._now()), headers={"content-type": CONTENT_TYPE})

    def _now(self) -> Snapshot:
        parts = self._parts
        under_way = [
            Held(provider=each.request.provider.name, model=model_of(each.request), nano=each.held.nano)
            for each in self.exchanges
        ]
        frozen = [(name, each.kind) for name, troubles in parts.freezer.all().items() for each in troubles]
        return Snapshot(
            boot=parts.boot,
            book=parts.book.hash,
            started_at=self._started_at,
            is_draining=self.metered.ending.is_set(),
            waiting=parts.purse.waiting,
            held=under_way,
            doors=len(self.doors.runs()),
            frozen=frozen,
            breakers=self._breakers(),
        )

    def _breakers(self) -> list[tuple[str, str]]:
        """The state of every provider's breaker; one that has not failed lately is closed."""
        states = {endpoint.provider.name: "closed" for endpoint in self._endpoints.every}
        for each in self.metered.breakers.standing():
            states[each.name.rpartition(" ")[0]] = each.state
        return list(states.items())

    async def _probe(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        del door, http
        return as_json({"service": "crewcap gateway"})
