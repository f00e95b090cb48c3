"""The ledger on PostgreSQL keeps the ledger's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger import LedgerContract
from tests.stores.postgres_server import Server
from tests.stores.postgres_shelf import Shelf

from crewcap.stores.postgres import PostgresLedger


class TestPostgresLedger(LedgerContract):
    """The suite over a database of its own."""

    @pytest.fixture
    def opened(self, postgres: Server, tmp_path: Path, clocks: Clocks) -> Iterator[Callable[[], PostgresLedger]]:
        shelf = Shelf(postgres, tmp_path)
        shelf.clocks = clocks
        yield shelf.open
        shelf.end()
