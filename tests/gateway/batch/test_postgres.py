"""Batches with the books in PostgreSQL: the same job, the same sums, over the life of two gateways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.batch.jobs import Desk, in_a_loop, over, serving, until
from tests.stores.postgres_server import shared

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.server import Simulator
from crewcap.stores import Limit
from crewcap.stores.postgres.ledger import PostgresLedger


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Desk]:
    home = Home(tmp_path / "home")
    home.make()
    ledger = PostgresLedger(home, shared().migrated(), monotonic=time.monotonic)
    yield Desk(home, ledger)
    ledger.close()


@in_a_loop
async def test_a_batch_outlives_its_gateway_and_its_sums_are_the_same(
    books: Desk, simulator: Simulator, book: Book
) -> None:
    books.ledger.set_limit(Limit(scope=Scope("team:core"), window="day", amount=Money.usd("0.10"), source="command"))
    simulator.batches.script = BatchScript(polls=40)
    job = books.job(count=20, scopes=("team:core",))
    async with serving(books, book, simulator.url):
        await until(lambda: any(part.batch for part in job.state().parts.values()))
    held = books.totals(job)
    assert ZERO < held.held <= Money.usd("0.05")
    assert held.uncertain == ZERO
    simulator.batches.script = BatchScript(polls=1)
    async with serving(books, book, simulator.url):
        await over(job)
    assert simulator.batches.posted == 1
    assert books.totals(job).spent == simulator.meter.total() > ZERO
    assert 0 < len(job.state().refused) < 20
    assert books.holds_nothing()
