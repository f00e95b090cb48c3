"""What the gateway answers: the list of paths. An unknown path is 404, and goes nowhere."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import aiohttp
from aiohttp import web

from crewcap.core.keys import VirtualKey
from crewcap.errors import LedgerError
from crewcap.gateway import headers
from crewcap.gateway.answers import Refusal, as_json, not_found, response
from crewcap.gateway.callers import Callers
from crewcap.gateway.doors import Door, Doors
from crewcap.gateway.endpoints import Endpoint, Endpoints
from crewcap.gateway.exchange import Exchange
from crewcap.gateway.exposition import CONTENT_TYPE
from crewcap.gateway.metered import Metered
from crewcap.gateway.metrics import Held, Metrics, Snapshot, model_of
from crewcap.gateway.parts import Parts
from crewcap.gateway.purse import Purse
from crewcap.gateway.rates import PerMinute
from crewcap.gateway.upstream import PROBE_S, Unsent
from crewcap.gateway.watchers import Declined, Watcher, tell_declined

log = logging.getLogger(__name__)

METRICS = "/metrics"
STAYS = frozenset({"/healthz", METRICS})  # what a gateway that is ending still answers
ENDING_S = 5

Route = Callable[[Door, web.BaseRequest], Awaitable[web.StreamResponse]]


class Service:
    """The requests of one running gateway."""

    def __init__(self, parts: Parts, endpoints: Endpoints, *, watchers: Sequence[Watcher] = ()) -> None:
        self.metrics = Metrics()
        self.watchers: list[Watcher] = [self.metrics, *watchers]
        parts.purse.time_rounds(self.metrics.ledger_round)
        self.doors = Doors(self.handle)
        self.callers = Callers(parts, self.doors)
        self.metered = Metered(parts, callers=self.callers, doors=self.doors, watchers=self.watchers)
        self._parts = parts
        self._endpoints = endpoints
        self._started_at = parts.clock().timestamp()
        self._count_rate = PerMinute(parts.policy.counts_per_minute, time.monotonic)
        self._routes: Mapping[tuple[str, str], Route] = {
            ("GET", "/v1/models"): self._models,
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

    def renew(self, parts: Parts, endpoints: Endpoints) -> None:
        """Go by another book, policy and list of providers, from the next request on."""
        self._parts, self._endpoints = parts, endpoints
        self.callers.renew(parts)
        self.metered = self.metered.renewed(parts)

    async def handle(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing that goes wrong in here shows more than a sentence."""
        endpoint, route = self._route(http)
        if route is None or (http.path == METRICS and door.key is not None):
            return not_found(http.path)
        if self.metered.ending.is_set() and http.path not in STAYS:
            return self._elsewhere(endpoint)
        try:
            return await route(door, http)
        except Refusal as refusal:
            return self._declined(endpoint, refusal)
        except LedgerError as error:
            log.error("a request was not booked, and so not sent: %s", error.message)  # noqa: TRY400  (it is known why)
            return self._declined(endpoint, Refusal("unavailable", "crewcap cannot book this request now"))
        except Exception:
            log.exception("a request could not be served")
            return self._declined(endpoint, Refusal("unavailable", "crewcap could not book or serve this request"))

    def _route(self, http: web.BaseRequest) -> tuple[Endpoint, Route | None]:
        """Who answers, and in whose manner."""
        path = http.rel_url.raw_path
        anybody = self._endpoints.every[0]
        if http.method == "POST":
            if endpoint := self._endpoints.metered(path):
                return endpoint, partial(self.metered.answer, endpoint)
            if endpoint := self._endpoints.counting(path):
                return endpoint, partial(self._count_tokens, endpoint)
        return anybody, self._routes.get((http.method, http.path))

    def _elsewhere(self, endpoint: Endpoint) -> web.Response:
        """Nothing new is taken: the client is told to come again, over another connection."""
        ending = Refusal("unavailable", "this gateway is ending and takes nothing new", retry_after_s=ENDING_S)
        answer = self._declined(endpoint, ending)
        answer.headers["retry-after"] = str(ENDING_S)
        answer.force_close()
        return answer

    def _declined(self, endpoint: Endpoint, refusal: Refusal) -> web.Response:
        """Say no, in the shape of this endpoint's family, and tell those who watch."""
        tell_declined(
            self.watchers,
            Declined(
                kind=refusal.kind,
                dialect=endpoint.dialect.name,
                model=refusal.model,
                key=refusal.key,
                run=refusal.run,
                message=refusal.message,
            ),
        )
        return response(refusal.answer(endpoint.dialect))

    # --- what is free

    async def _count_tokens(self, endpoint: Endpoint, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """The provider's count call, for a key that exists, at a bounded rate."""
        call = await self.callers.read(door, http)
        provider = endpoint.provider
        wait_s = self._count_rate.take(call.key.id)
        if wait_s:
            raise Refusal("wait", "too many count calls of this key", retry_after_s=math.ceil(wait_s))
        self.metered.refuse_frozen(provider, "", is_capped=False)
        url = provider.url(http.rel_url.raw_path, query=headers.query(http.query))
        sent = headers.to_provider(call.headers, key=self._parts.upstream.key_headers(provider))
        try:
            answer = await self._parts.upstream.post(url, call.body, sent, limit=asyncio.timeout(PROBE_S))
            async with answer:
                counted = await answer.read()
        except (Unsent, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refusal("provider", "the provider could not be reached") from error
        if answer.status in {401, 403}:
            raise Refusal("frozen", f"the provider does not accept its key ({answer.status})")
        return web.Response(status=answer.status, headers=headers.to_client(answer.headers), body=counted)

    async def _models(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        """Models that this key may use and that have a price."""
        _, key = await self.callers.known(door, http)
        known = self._parts.book.models(self._endpoints.every[0].provider.prices)
        names = [name for name in known if not key.models or name in key.models]
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"} for name in names
        ]
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return as_json({"data": data, "has_more": False, **ends})

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
        )

    async def _probe(self, door: Door, http: web.BaseRequest) -> web.StreamResponse:
        del door, http
        return as_json({"service": "crewcap gateway"})
