"""The ledger on PostgreSQL keeps the ledger's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger import LedgerContract
from tests.stores.books import reserve, settle
from tests.stores.postgres_server import Server
from tests.stores.postgres_shelf import Shelf, usd

from crewcap.core.budget import ALL, Granted, KeyId
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.stores import Limit
from crewcap.stores.postgres.ledger import PostgresLedger


class TestPostgresLedger(LedgerContract):
    """The suite over a database of its own."""

    @pytest.fixture
    def opened(self, postgres: Server, tmp_path: Path, clocks: Clocks) -> Iterator[Callable[[], PostgresLedger]]:
        shelf = Shelf(postgres, tmp_path)
        shelf.clocks = clocks
        yield shelf.open
        shelf.end()


def test_a_request_reads_no_history_however_many_limits_are_in_force(desk: Shelf) -> None:
    """What a window holds is added up once, when its row is made; a ledger of years is as quick as a new one."""
    ledger, boot = desk.filled(cap="1000.00")
    for kind in ("tpm", "rpm", "concurrent"):
        ledger.set_rate(RateLimit(scope=ALL, kind=kind, value=10**6, source="command"))
    ledger.set_count(CountLimit(scope=ALL, kind="tokens", window="month", value=10**9, source="command"))
    ledger.set_limit(Limit(scope=ALL, window="month", amount=usd("900"), source="command"))

    def live(name: str) -> None:
        assert isinstance(reserve(ledger, boot, name, "0.10"), Granted)
        assert len(ledger.balances(KeyId("k1"))) == 3
        assert settle(ledger, name, "0.01")

    def read() -> int:
        for session in (ledger._writer, ledger._reader):
            session.run(lambda db: db.fetch("SELECT pg_stat_force_next_flush()"), again=True)
            session.run(lambda db: db.fetch("SELECT 1"), again=True)
        return int(
            desk.sql(
                "SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint FROM pg_stat_user_tables"
                " WHERE relname IN ('movement', 'hold')"
            )[0][0]
        )

    for number in range(100):
        live(f"old-{number}")
    before = read()
    for number in range(10):
        live(f"new-{number}")
    assert read() - before < 10 * 40
    assert ledger.verify().problems == ()
