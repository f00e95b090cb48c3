"""A real gateway with the real ledger, in front of the scripted provider, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crewcap.core.budget import ALL, Balance, KeyId, Scope
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import KEY_HEADERS, Provider
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import Book, load
from crewcap.simulator.script import Script, Step, When
from crewcap.simulator.server import Simulator
from crewcap.stores import Entry
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.wire import ENDPOINTS

PROVIDER_KEY = "sk-ant-fake-provider-key-0001"
MODEL = "claude-sonnet-4-6"


@dataclass
class Key:
    """A virtual key and its row."""

    secret: str
    row: VirtualKey


@dataclass
class Rig:
    """Everything that a test looks at."""

    gateway: Gateway
    simulator: Simulator
    ledger: SqliteLedger
    http: aiohttp.ClientSession
    home: Home
    key: Key

    def new_key(self, cap: str | None = "1.00", **row: Any) -> Key:
        """One more key."""
        return add_key(self.ledger, cap, **row)

    def request(self, text: str = "hello", **fields: Any) -> dict[str, Any]:
        """A body of the Messages API."""
        body = {"model": MODEL, "max_tokens": 1_000, "messages": [{"role": "user", "content": text}]}
        return {**body, **fields}

    async def post(
        self, body: Any, *, key: Key | None = None, path: str = "/v1/messages", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask the gateway; status, headers and the whole body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"x-api-key": (key or self.key).secret, "content-type": "application/json", **(headers or {})}
        async with self.http.post(self.gateway.url + path, data=data, headers=sent) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()

    async def settled(self) -> None:
        """Wait until nothing is under way and everything is booked."""
        await self.simulator.idle()
        async with asyncio.timeout(10):
            await asyncio.gather(*(exchange.over.wait() for exchange in tuple(self.gateway.service.exchanges)))
        await self.gateway.service.purse.do(lambda: None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that no event tells, at most 10 s."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  (the condition is the database's, the provider's, the kernel's)
                await asyncio.sleep(0.002)

    def balance(self, key: Key | None = None) -> Balance:
        """What became of a key's own cap."""
        scope = Scope(f"key:{(key or self.key).row.id}")
        return next(each for each in self.ledger.balances((key or self.key).row.id) if each.scope == scope)

    def charged(self, key: Key | None = None) -> Money:
        """Spent and uncertain."""
        balance = self.balance(key)
        return balance.spent + balance.uncertain

    def entries(self) -> tuple[Entry, ...]:
        return self.ledger.entries()


def add_key(ledger: SqliteLedger, cap: str | None, **row: Any) -> Key:
    """Make a key in a ledger."""
    secret = f"ccap-{secrets.token_urlsafe(32)}"
    id_ = KeyId(secrets.token_hex(6))
    run = row.get("run", "")
    scopes = (Scope(f"key:{id_}"), *((Scope(f"run:{run}"),) if run else ()), ALL)
    key = VirtualKey(**{"id": id_, "hash": hash_key(secret), "scopes": scopes, "created_at": datetime.now(UTC), **row})
    ledger.add_key(key, cap=Money.usd(cap) if cap else None)
    return Key(secret, key)


def provider_for(url: str, read_key: Callable[[], str] = lambda: PROVIDER_KEY, *, share: int = 100) -> Provider:
    return Provider(
        name="anthropic",
        base_url=url,
        prices="anthropic",
        read_key=read_key,
        key_header=KEY_HEADERS["anthropic"],
        share=share,
    )


def endpoints_for(url: str, read_key: Callable[[], str] = lambda: PROVIDER_KEY, *, share: int = 100) -> list[Endpoint]:
    provider = provider_for(url, read_key, share=share)
    return [
        Endpoint(provider=provider, dialect=speak(), template=template)
        for template, speak in ENDPOINTS["anthropic"].items()
    ]


def says(output_tokens: int = 100, *, name: str = "answer", task: str = "", **step: Any) -> Step:
    """A step that answers everything, or what a word is in."""
    import re  # noqa: PLC0415

    when = When(task=re.compile(task)) if task else When()
    return Step(name=name, say="Yes.", when=when, output_tokens=output_tokens, **step)


def script(*steps: Step) -> Script:
    return Script(name="test", steps=steps or (says(),))


RigMaker = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@pytest.fixture
def rig(tmp_path: Path, book: Book) -> RigMaker:
    """`async with rig(script, cap="1.00", wait_s=2) as r:`"""

    @asynccontextmanager
    async def make(
        answers: Script | None = None,
        *,
        cap: str | None = "1.00",
        provider: dict[str, Any] | None = None,
        busy_s: float = 5.0,
        base_url: str = "",
        share: int = 100,
        **policy: Any,
    ) -> AsyncIterator[Rig]:
        home = Home(tmp_path / "home")
        home.make()
        ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic, busy_s=busy_s)
        try:
            async with (
                Simulator(answers or script(), book=book, **(provider or {})) as simulator,
                Gateway(
                    home=home,
                    ledger=ledger,
                    book=book,
                    endpoints=endpoints_for(base_url or simulator.url, share=share),
                    policy=Policy(**{"backoff_s": 0.001, **policy}),
                    clock=lambda: datetime.now(UTC),
                ) as gateway,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            ):
                key = add_key(ledger, cap)
                yield Rig(gateway=gateway, simulator=simulator, ledger=ledger, http=http, home=home, key=key)
        finally:
            ledger.close()

    return make
