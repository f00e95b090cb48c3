"""Batch jobs for tests: a home, its books, and gateways in front of a provider with batch APIs."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.gateway.batch.folder import Folder, Job, Prompt
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import KEY_HEADERS, Provider
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.stores import Ledger, Totals
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.wire import ENDPOINTS

PROVIDER_KEY = "sk-fake-provider-key-0009"
MODELS = {"/v1/messages": "claude-sonnet-4-6", "/v1/responses": "gpt-5", "/v1/chat/completions": "gpt-4.1"}
QUICK = {"batch_poll_s": 0.02, "batch_appears_s": 0.05, "beat_s": 0.2, "look_s": 0.1, "wait_s": 0.2}


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, run in a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def utc_now() -> datetime:
    return datetime.now(UTC)


def gateway_for(home: Home, ledger: Ledger, book: Book, url: str, **policy: Any) -> Gateway:
    """The product's own, in front of a provider of both families."""
    endpoints = [
        Endpoint(
            provider=Provider(
                name=family,
                base_url=url,
                prices=family,
                read_key=lambda: PROVIDER_KEY,
                key_header=KEY_HEADERS[family],
            ),
            dialect=speak(),
            template=template,
        )
        for family in ("anthropic", "openai")
        for template, speak in ENDPOINTS[family].items()
    ]
    return Gateway(
        home=home,
        ledger=ledger,
        book=book,
        endpoints=endpoints,
        policy=Policy(**{**QUICK, **policy}),
        clock=utc_now,
    )


@dataclass
class Desk:
    """A home with its books."""

    home: Home
    ledger: Ledger

    @classmethod
    def open(cls, root: Path) -> Desk:
        home = Home(root)
        home.make()
        return cls(home, SqliteLedger(home, clock=utc_now, monotonic=time.monotonic))

    def key(self, cap: str = "10.00", *scopes: str) -> VirtualKey:
        """A key of a batch."""
        id_ = KeyId(f"k{time.time_ns():x}")
        named = (Scope(f"key:{id_}"), *(Scope(each) for each in scopes), ALL)
        key = VirtualKey(id=id_, hash=f"hash-{id_}", scopes=named, created_at=utc_now(), label="batch")
        self.ledger.add_key(key, cap=Money.usd(cap))
        return key

    def job(
        self,
        name: str = "job",
        *texts: str,
        api: str = "/v1/messages",
        model: str = "",
        cap: str = "10.00",
        count: int = 4,
        max_output: int = 400,
        scopes: tuple[str, ...] = (),
        **job: Any,
    ) -> Folder:
        """A job's folder, as the command line makes it."""
        key = self.key(cap, *scopes)
        said = texts or tuple(f"Audit file number {n}" for n in range(count))
        prompts = [
            Prompt(n=n, id=f"p{n}", text=text, model=model or MODELS[api], max_output=max_output)
            for n, text in enumerate(said)
        ]
        made = Job(
            name=name,
            id=f"{time.time_ns():016x}"[-16:],
            key=key.id,
            cap=Money.usd(cap),
            created_at=utc_now(),
            api=api if api != "/v1/messages" else "",
            **job,
        )
        return Folder.make(self.home.batches / name, made, prompts)

    def totals(self, folder: Folder) -> Totals:
        """What a job came to."""
        return self.ledger.totals(Scope(f"key:{folder.job().key}"))

    def holds_nothing(self) -> bool:
        """Whether the books are sound and nothing is open in them."""
        return self.ledger.open_holds() == () and self.ledger.verify().problems == ()


@asynccontextmanager
async def serving(desk: Desk, book: Book, url: str, **policy: Any) -> AsyncIterator[Gateway]:
    """A gateway that lives here."""
    async with gateway_for(desk.home, desk.ledger, book, url, **policy) as gateway:
        yield gateway


async def until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    """Wait for something that no event tells."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  (the condition is the disk's, the provider's)
            await asyncio.sleep(0.005)


async def over(*jobs: Folder) -> None:
    """Wait until jobs are over."""
    await until(lambda: all(job.state().is_over for job in jobs))
