"""A provider whose answers are bytes that a test writes, and a gateway that serves all three dialects from it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from tests.gateway.conftest import Key, add_key

from crewcap.core.budget import Balance, Scope
from crewcap.core.money import Money
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import KEY_HEADERS, PROBES, Provider
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.stores import Entry
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.wire import ENDPOINTS

SSE = "text/event-stream"
JSON = "application/json"
PRICES = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
PROVIDER_KEY = "sk-fake-provider-key-0002"


@dataclass(frozen=True)
class Said:
    """One answer of the provider."""

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False  # the connection breaks off after these bytes
    after: asyncio.Event | None = None  # the end of the body waits for it
    rest: bytes = b""  # the end of the body


@dataclass(frozen=True)
class Asked:
    """One request as the provider got it."""

    method: str
    target: str  # path and query, as they stood in the request line
    headers: Mapping[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Provider3:
    """Answers every request with the next of its answers, the last one again and again."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        asked = Asked(http.method, http.raw_path, {k.lower(): v for k, v in http.headers.items()}, await http.read())
        self.asked.append(asked)
        said = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        response = web.StreamResponse(status=said.status, headers={"content-type": said.kind, **said.headers})
        await response.prepare(http)
        await response.write(said.body)
        if said.after is not None:
            await said.after.wait()
            await response.write(said.rest)
        if said.is_cut:
            assert http.transport is not None
            http.transport.abort()
        return response


@dataclass
class Three:
    """A gateway for all dialects, and everything that a test looks at."""

    gateway: Gateway
    provider: Provider3
    ledger: SqliteLedger
    http: aiohttp.ClientSession
    key: Key

    async def post(
        self, path: str, body: Any, *, headers: Mapping[str, str] | None = None, key: Key | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask as each family's clients do; status, headers and the whole body (what came of it, where it is cut)."""
        sent = {**key_header(path, (key or self.key).secret), "content-type": JSON, **(headers or {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(self.gateway.url + path, data=data, headers=sent) as answer:
            found = bytearray()
            try:
                async for chunk in answer.content.iter_any():
                    found += chunk
            except aiohttp.ClientError:
                found += b"<cut>"
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(found)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """A free request, and its JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(self.gateway.url + path, headers=sent) as answer:
            return answer.status, await answer.json()

    async def settled(self) -> None:
        """Wait until everything is booked."""
        for exchange in tuple(self.gateway.service.exchanges):
            await exchange.over.wait()
        await self.gateway.service.purse.do(lambda: None)

    async def entry(self) -> Entry:
        """The newest one in the books."""
        await self.settled()
        return self.ledger.entries()[-1]

    def balance(self, key: Key | None = None) -> Balance:
        """What became of a key's own cap."""
        scope = Scope(f"key:{(key or self.key).row.id}")
        return next(each for each in self.ledger.balances((key or self.key).row.id) if each.scope == scope)

    def charged(self) -> Money:
        """Spent and uncertain."""
        balance = self.balance()
        return balance.spent + balance.uncertain

    def new_key(self, cap: str | None = "1.00", **row: Any) -> Key:
        """One more key."""
        return add_key(self.ledger, cap, **{"capped": cap is not None, **row})


def key_header(path: str, secret: str) -> dict[str, str]:
    """How the clients of this path's family show their key."""
    if path.startswith("/v1beta") or ":" in path:
        return {"x-goog-api-key": secret}
    return {"x-api-key": secret} if path.startswith("/v1/messages") else {"authorization": f"Bearer {secret}"}


def endpoints(url: str, families: Sequence[str] = tuple(PRICES), **options: Any) -> list[Endpoint]:
    """Every path of these families, all at one address."""
    return [
        Endpoint(
            provider=Provider(
                name=family,
                base_url=url,
                prices=PRICES[family],
                read_key=lambda: PROVIDER_KEY,
                key_header=KEY_HEADERS[family],
                probe=PROBES[family],
            ),
            dialect=speak(**options.get(family, {})),
            template=template,
        )
        for family in families
        for template, speak in ENDPOINTS[family].items()
    ]


@asynccontextmanager
async def three(
    folder: Path,
    book: Book,
    *answers: Said,
    cap: str | None = "5.00",
    families: Sequence[str] = tuple(PRICES),
    options: Mapping[str, Any] | None = None,
    **policy: Any,
) -> AsyncIterator[Three]:
    """A gateway for these families in front of a provider that says these things."""
    home = Home(folder / "home")
    home.make()
    ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    try:
        async with (
            Provider3(*answers) as provider,
            Gateway(
                home=home,
                ledger=ledger,
                book=book,
                endpoints=endpoints(provider.url, families, **(options or {})),
                policy=Policy(**{"attempts": 1, **policy}),
                clock=lambda: datetime.now(UTC),
            ) as gateway,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            yield Three(
                gateway=gateway,
                provider=provider,
                ledger=ledger,
                http=http,
                key=add_key(ledger, cap, capped=cap is not None),
            )
    finally:
        ledger.close()
