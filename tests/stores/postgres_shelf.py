"""Ledgers in PostgreSQL for the stores' tests: made, opened, abandoned, and looked at behind their back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel
from tests.contracts.clocks import Clocks
from tests.stores.books import reserve, settle
from tests.stores.postgres_server import Server

from crewcap.core.budget import ALL, BootId, Granted, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.stores import Limit
from crewcap.stores.postgres.ledger import PostgresLedger

usd = Money.usd
_GONE_S = 10_000  # milliseconds that the server may take to end a session


class Shelf:
    """One database and one home with its clocks; ledgers are opened on it as often as a test likes."""

    def __init__(self, server: Server, folder: Path, *, url: str = "") -> None:
        self.server = server
        self.home = Home(folder / "home")
        self.url = url or server.migrated()
        self.clocks = Clocks()
        self.opened: list[PostgresLedger] = []

    def open(self, *, busy_s: float = 5.0, home: Home | None = None) -> PostgresLedger:
        ledger = PostgresLedger(
            home or self.home,
            self.url,
            monotonic=self.clocks.monotonic,
            fixed_clock=self.clocks.clock,
            busy_s=busy_s,
        )
        self.opened.append(ledger)
        return ledger

    def filled(self, *, cap: str = "1.00") -> tuple[PostgresLedger, BootId]:
        """A ledger with key k1, its cap, a daily budget of $25, and one settled request of $0.10."""
        ledger = self.open()
        boot = ledger.start_boot()
        add_key(ledger, "k1", cap=cap, clocks=self.clocks)
        ledger.set_limit(Limit(scope=ALL, window="day", amount=usd("25"), source="command"))
        assert isinstance(reserve(ledger, boot, "first", "0.30"), Granted)
        assert settle(ledger, "first", "0.10")
        return ledger, boot

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Do something to the database that no ledger would."""
        return self.server.sql(self.url, statement, *values)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Somebody else has the book's lock, in a transaction that they forgot."""
        loop = asyncio.new_event_loop()
        db = loop.run_until_complete(asyncpg.connect(self.url))
        try:
            loop.run_until_complete(db.execute("BEGIN; SELECT crewcap.take_book()"))
            yield
        finally:
            loop.run_until_complete(db.close())
            loop.close()

    def past_triggers(self, statement: str) -> None:
        """What a superuser may do whom no trigger asks."""
        asyncio.run(_past_triggers(self.url, statement))

    def reload(self, **settings: str) -> None:
        """Have the server read its settings again, and wait until sessions see them."""
        self.sql("SELECT pg_reload_conf()")
        for name, value in settings.items():
            until = time.monotonic() + 10
            while self.sql(f"SHOW {name}") != [(value,)] and time.monotonic() < until:
                pass  # each look is a session of its own

    def a_key(self, name: str) -> VirtualKey:
        scopes = (Scope(f"key:{name}"), Scope("repo:a"), ALL)
        return VirtualKey(id=KeyId(name), hash=f"hash-{name}", scopes=scopes, created_at=self.clocks.wall)

    def end(self) -> None:
        """Drop what is still open."""
        for ledger in self.opened:
            ledger._close_sessions()


def abandon(ledger: PostgresLedger) -> None:
    """End a ledger as `kill -9` would: no marker, no farewell; the server knows that it is gone."""
    sessions = (ledger._writer, ledger._reader, ledger._boots._session)
    processes = [session.process for session in sessions if session.process]
    for session in sessions:
        session.drop()
    asyncio.run(_wait_for_the_end(ledger._url, processes))
    ledger._close_sessions()


async def _past_triggers(url: str, statement: str) -> None:
    db = await asyncpg.connect(url, server_settings={"session_replication_role": "replica", "search_path": "crewcap"})
    try:
        await db.execute(statement)
    finally:
        await db.close()


async def _wait_for_the_end(url: str, processes: list[int]) -> None:
    db = await asyncpg.connect(url)
    try:
        await db.fetch("SELECT pg_terminate_backend(p, $2) FROM unnest($1::int[]) AS p", processes, _GONE_S)
    finally:
        await db.close()


def add_key(ledger: PostgresLedger, name: str, *, cap: str | None, clocks: Clocks) -> None:
    scopes = (Scope(f"key:{name}"), Scope("repo:a"), ALL)
    key = VirtualKey(id=KeyId(name), hash=f"hash-{name}", scopes=scopes, created_at=clocks.wall)
    ledger.add_key(key, cap=None if cap is None else usd(cap))
