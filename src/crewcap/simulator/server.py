"""The simulator: the providers' APIs on loopback, answering from a script and billing on its own meter.

    async with Simulator("fix-login") as simulator:          # or Simulator.in_thread(...) where there is no loop
        ... simulator.url, simulator.meter.total(), simulator.log.messages()

What is promised to tests:

- An answer is billed *before* its first event is sent, in full, whether the client stays or hangs up
  (`bill="all"`); with `bill="sent"` it is billed at its end, for what was generated until then, as a provider that
  stops when the client goes. A refusal is never billed, a cut or silent stream is.
- A request's record is in the log when its handler ends; `idle` waits for that.
- Every API plays the same script on the same meter, each with its provider's prices and manners: Anthropic's Messages,
  OpenAI's Responses and Chat Completions, Gemini's generateContent. A key is taken from any header they use.
- `trouble` is what every request is refused with while it is set: an outage does not depend on counting either.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from aiohttp import web

from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage
from crewcap.errors import UsageError
from crewcap.simulator import control, script_file
from crewcap.simulator.answers import Answer, compose
from crewcap.simulator.anthropic import Messages
from crewcap.simulator.batch import Batches, BatchScript, Desk
from crewcap.simulator.cache import Prompt, PromptCache
from crewcap.simulator.conversation import Asked, BadRequest
from crewcap.simulator.family import Family
from crewcap.simulator.gemini import Gemini
from crewcap.simulator.lies import LIES, Facts
from crewcap.simulator.log import Record, RequestLog, without_secrets
from crewcap.simulator.meter import Bill, Meter, price
from crewcap.simulator.openai_chat import Completions
from crewcap.simulator.openai_responses import Responses
from crewcap.simulator.script import Script
from crewcap.simulator.sending import Delivery, Turn, refusal_of
from crewcap.simulator.troubles import TROUBLES, Trouble

LARGEST_BODY = 32 * 1024 * 1024  # as the provider's


GENERATING: Mapping[str, type[Family]] = {
    "/v1/messages": Messages,
    "/v1/responses": Responses,
    "/v1/chat/completions": Completions,
    r"/{version:v1beta|v1}/models/{model:[^:/]+}:{method:generateContent|streamGenerateContent}": Gemini,
}
COUNTING: Mapping[str, type[Family]] = {
    "/v1/messages/count_tokens": Messages,
    "/v1/responses/input_tokens": Responses,
    r"/{version:v1beta|v1}/models/{model:[^:/]+}:countTokens": Gemini,
}
SESSION_HEADERS = ("x-claude-code-session-id", "session-id", "x-session-id")
AGENT_HEADERS = ("x-claude-code-agent-id", "thread-id")
_PATH_KEY = re.compile(r"([?&])key=[^&]*&?")


class Catalogue(PriceBook, Protocol):
    """A price book that can also list its models."""

    def models(self, provider: str) -> Any:
        """Every model of a provider."""
        ...


class Refusal(Exception):
    """A request ends with an error of the provider."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class Simulator:
    """A scripted provider; an async context manager that listens while it is open."""

    def __init__(  # noqa: PLR0913  (each is one independent knob with a default, named by its keyword)
        self,
        script: Script | str | Path,
        *,
        variables: Mapping[str, Any] | None = None,
        lie: str = "",
        bill: Literal["all", "sent"] = "all",
        keys: frozenset[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log_file: Path | None = None,
        keep_bodies: bool = False,
        book: Catalogue | None = None,
        batches: BatchScript | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        loaded = script if isinstance(script, Script) else script_file.load(script)
        self.script = loaded.with_variables(variables or {})
        if lie and lie not in LIES:
            raise UsageError(f"{lie!r} is not a lie of the simulator", help=f"it knows {', '.join(LIES)}")
        self.lie = lie
        self.meter = Meter()
        self.log = RequestLog(log_file)
        self.trouble: Trouble | None = None
        self.url = ""
        self.batches = Batches(
            batches or BatchScript(),
            Desk(record=self._record, admit=self._admit_to_batch, answer=self._item, number=self._next, now=clock),
        )
        self._bill_mode = bill
        self._keys = keys
        self._address = (host, port)
        self._keep_bodies = keep_bodies
        self._book = book or _shipped_book()
        self._clock = clock
        self._cache = PromptCache(clock)
        self._families = {family: family() for family in GENERATING.values()}
        self._count = 0
        self.in_flight = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._runner = runner
        host, port = self._address
        await web.TCPSite(runner, host, port).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, script: Script | str | Path, **options: Any) -> Iterator[Self]:
        """The same from code without an event loop: it listens in a thread of its own."""
        simulator = cls(script, **options)
        ready, stop = threading.Event(), asyncio.Event()
        failures: list[BaseException] = []
        thread = threading.Thread(target=_serve, args=(simulator, ready, stop, failures), name="simulator", daemon=True)
        thread.start()
        ready.wait(timeout=30)
        if failures:
            raise failures[0]
        try:
            yield simulator
        finally:
            if simulator._loop is not None:
                simulator._loop.call_soon_threadsafe(stop.set)
            thread.join(timeout=30)

    async def idle(self, timeout_s: float = 10) -> None:
        """Wait until no request is being answered."""
        async with asyncio.timeout(timeout_s):
            await self._quiet.wait()

    def idle_in_thread(self, timeout_s: float = 10) -> None:
        """The same from outside of the simulator's thread."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.idle(timeout_s), self._loop).result(timeout_s + 1)

    def reset(self) -> None:
        """Meter, log, prompt cache and trouble back to the start."""
        self.meter.reset()
        self.log.reset()
        self._cache.forget()
        self.batches.forget()
        self.trouble = None

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY)
        for path, family in GENERATING.items():
            app.router.add_post(path, partial(self._generate, self._families[family]))
        for path, family in COUNTING.items():
            app.router.add_post(path, partial(self._count_tokens, self._families[family]))
        for path in ("/v1/models", "/v1beta/models"):
            app.router.add_get(path, self._models)
        self.batches.add_routes(app)
        control.add_routes(app, self)
        for probe in ("/", "/healthz", "/api/hello"):
            app.router.add_get(probe, _probe)
        return app

    async def _generate(self, family: Family, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self._quiet.clear()
        record = self._record(request)
        try:
            body = await _body(request)
            record = replace(record, size_bytes=len(body), body=body if self._keep_bodies else b"")
            turn = self._turn(family, record, body)
            return await self._answer(request, turn)
        except Refusal as refusal:
            return self._refused(family, record, refusal.trouble)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._quiet.set()

    async def _count_tokens(self, family: Family, request: web.Request) -> web.StreamResponse:
        record = self._record(request)
        try:
            body = await _body(request)
            record = replace(record, size_bytes=len(body))
            asked = self._read(family, record, body, counting=True)
            card = self._card(family, asked, Modifiers())
            tokens = self._prompt(family, record, asked, card).usage.prompt
        except Refusal as refusal:
            return self._refused(family, record, refusal.trouble)
        self.log.add(replace(record, model=asked.model, status=200, ending="complete"))
        return web.json_response(family.counted(tokens))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        record, family = self._record(request), self._families[_family_of(request)]
        try:
            self._admit(record)
        except Refusal as refusal:
            return self._refused(family, record, refusal.trouble)
        self.log.add(replace(record, status=200, ending="complete"))
        return web.json_response(family.listed([str(name) for name in self._book.models(family.provider)]))

    def _admit_to_batch(self, family: Family, record: Record) -> web.Response | None:
        """The refusal of a request to a batch API, if it is refused."""
        try:
            self._admit(record)
        except Refusal as refusal:
            return self._refused(family, record, refusal.trouble)
        self.log.add(replace(record, status=200, ending="complete"))
        return None

    def _item(self, family: Family, record: Record, body: bytes) -> tuple[int, Any]:
        """One request of a batch, answered whole and billed at a batch's prices."""
        record = replace(record, size_bytes=len(body), body=body if self._keep_bodies else b"")
        try:
            turn = self._turn(family, record, body, tier="batch")
        except Refusal as refusal:
            refused = family.refusal(refusal.trouble, record.id)
            return refused.status, json.loads(refused.body)
        self._cache.keep(turn.prompt)
        family.remember(turn.answer, turn.asked)
        bill = self._bill(turn, turn.answer.usage)
        self.log.add(replace(turn.record, status=200, usage=bill.usage, billed=bill.amount, ending="complete"))
        return 200, family.whole(turn.answer, turn.asked)

    def _turn(self, family: Family, record: Record, body: bytes, *, tier: str = "") -> Turn:
        """Read a request and make its answer; `Refusal` where it gets none."""
        read = self._read(family, record, body)
        asked = self._served(family, replace(read, tier=tier) if tier else read)
        card = self._card(family, asked, Modifiers(speed=asked.speed, geo=asked.geo, tier=asked.tier))
        asked = replace(asked, max_tokens=_limit(family, asked, card))
        pick = self.script.pick(asked)
        record = replace(
            record,
            model=asked.model,
            max_tokens=asked.max_tokens,
            stream=asked.stream,
            agent="sub" if asked.is_subagent else "main",
            conversation=hashlib.sha256(asked.task.encode()).hexdigest()[:10],
            step=pick.step.name,
            round=pick.round,
        )
        if pick.step.refuse is not None:
            raise Refusal(pick.step.refuse)
        prompt = self._prompt(family, record, asked, card)
        if card.context_window is not None and prompt.usage.prompt > card.context_window:
            raise _bad(f"prompt is too long: {prompt.usage.prompt} tokens > {card.context_window} maximum")
        answer = compose(pick, self.script, asked, prompt=prompt.usage, card=card, number=self._next())
        answer = self._lied(family, replace(answer, created=int(record.at.timestamp())), asked, record)
        return Turn(family=family, record=record, pick=pick, asked=asked, prompt=prompt, card=card, answer=answer)

    def _read(self, family: Family, record: Record, body: bytes, *, counting: bool = False) -> Asked:
        self._admit(record)
        size = self.script.bytes_per_token
        try:
            return family.read(body, record.headers, path=record.path, counting=counting, bytes_per_token=size)
        except BadRequest as error:
            raise _bad(str(error)) from error

    def _admit(self, record: Record) -> None:
        if not record.key or (self._keys is not None and record.key not in self._keys):
            raise Refusal(TROUBLES["authentication"])
        if self.trouble is not None:
            raise Refusal(self.trouble)

    def _served(self, family: Family, asked: Asked) -> Asked:
        """A tier in which the model is not sold is served as the usual one."""
        try:
            self._book.card(family.provider, asked.model, at=self._clock(), modifiers=Modifiers(tier=asked.tier))
        except UnknownPrice:
            return replace(asked, tier="standard")
        return asked

    def _card(self, family: Family, asked: Asked, modifiers: Modifiers) -> RateCard:
        try:
            return self._book.card(family.provider, asked.model, at=self._clock(), modifiers=modifiers)
        except UnknownPrice as error:
            raise Refusal(replace(TROUBLES["not_found"], message=f"model: {asked.model}")) from error

    def _prompt(self, family: Family, record: Record, asked: Asked, card: RateCard) -> Prompt:
        owner = f"{record.key}\n{asked.model}"
        try:
            if not family.keeps_unasked:
                return self._cache.read(owner, asked.blocks)
        except BadRequest as error:
            raise _bad(str(error)) from error
        is_sold = card.rates.write_5m > card.rates.input
        return self._cache.read_unasked(owner, asked.blocks, write=asked.write if is_sold else "")

    def _lied(self, family: Family, answer: Answer, asked: Asked, record: Record) -> Answer:
        if not self.lie:
            return answer
        facts = Facts(
            size_bytes=record.size_bytes,
            max_tokens=asked.max_tokens,
            dearest_model=self._dearest(family),
            tells=family.tells,
        )
        return LIES[self.lie](answer, facts)

    def _dearest(self, family: Family) -> str:
        def price_of(name: str) -> int:
            try:
                return self._book.card(family.provider, name, at=self._clock()).rates.output
            except UnknownPrice:  # it is listed, and not sold at present
                return 0

        return max((str(name) for name in self._book.models(family.provider)), key=price_of)

    async def _answer(self, request: web.Request, turn: Turn) -> web.StreamResponse:
        self._cache.keep(turn.prompt)
        turn.family.remember(turn.answer, turn.asked)
        delivery = Delivery(request=request, turn=turn, bill=self._bill, is_billed_first=self._bill_mode == "all")
        try:
            return await (delivery.stream() if turn.asked.stream else delivery.whole())
        finally:
            self.log.add(delivery.record())

    def _bill(self, turn: Turn, usage: Usage) -> Bill:
        """Put an answer on the meter, at the card that it says it was made with."""
        bill = Bill(
            at=self._clock(),
            request=turn.record.id,
            key=turn.record.key,
            model=turn.answer.model,
            session=turn.record.session,
            usage=usage,
            amount=price(self._card_billed(turn), usage),
        )
        self.meter.bill(bill)
        return bill

    def _card_billed(self, turn: Turn) -> RateCard:
        answer = turn.answer
        try:
            return self._book.card(turn.family.provider, answer.model, at=turn.record.at, modifiers=answer.modifiers)
        except UnknownPrice:  # a lie may claim what has no price; then the honest card stands
            return turn.card

    def _refused(self, family: Family, record: Record, trouble: Trouble) -> web.Response:
        answer = refusal_of(family, trouble, record)
        self.log.add(replace(record, status=answer.status, ending="refused"))
        return answer

    def _record(self, request: web.Request) -> Record:
        return Record(
            at=self._clock(),
            id=f"req_sim_{self._next():06d}",
            method=request.method,
            path=_PATH_KEY.sub(r"\1", request.path_qs),
            key=_key(request.headers) or request.query.get("key", ""),
            headers=without_secrets(request.headers),
            session=_first(request.headers, SESSION_HEADERS),
            agent_id=_first(request.headers, AGENT_HEADERS),
        )

    def _next(self) -> int:
        self._count += 1
        return self._count


def _serve(simulator: Simulator, ready: threading.Event, stop: asyncio.Event, failures: list[BaseException]) -> None:
    """The life of a simulator in a thread."""

    async def life() -> None:
        async with simulator:
            ready.set()
            await stop.wait()

    try:
        asyncio.run(life())
    except OSError as error:
        failures.append(error)
    finally:
        ready.set()


def _shipped_book() -> Catalogue:
    from crewcap.prices import load  # noqa: PLC0415  (heavy; a test may bring a book of its own)

    return load()


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal(TROUBLES["too_large"]) from error


async def _probe(request: web.Request) -> web.Response:
    del request
    return web.json_response({"ok": True})


def _key(headers: Mapping[str, str]) -> str:
    """The API key, by any header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return _first(headers, ("x-api-key", "x-goog-api-key")) or (token.strip() if scheme.lower() == "bearer" else "")


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    """What the first of these headers says that is there."""
    return next((value for name in names if (value := headers.get(name))), "")


def _family_of(request: web.Request) -> type[Family]:
    """Whose models are asked for: Anthropic and OpenAI share a path, and clients tell themselves by their headers."""
    if request.path.startswith("/v1beta/"):
        return Gemini
    is_openai = "authorization" in request.headers and "anthropic-version" not in request.headers
    return Responses if is_openai else Messages


def _limit(family: Family, asked: Asked, card: RateCard) -> int:
    try:
        return family.limit(asked, card)
    except BadRequest as error:
        raise _bad(str(error)) from error


def _bad(text: str) -> Refusal:
    return Refusal(replace(TROUBLES["bad_request"], message=text))
