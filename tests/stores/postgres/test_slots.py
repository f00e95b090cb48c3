"""Places are exact in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_slots import SlotsContract
from tests.stores.postgres_server import Server
from tests.stores.run_books import PostgresRunBooks


class TestPostgresSlots(SlotsContract):
    """The suite over a database whose own default is another isolation than counting needs."""

    @pytest.fixture
    def books(self, postgres: Server, tmp_path: Path) -> Iterator[PostgresRunBooks]:
        found = PostgresRunBooks(postgres, tmp_path)
        ((name,),) = postgres.sql(found.url, "SELECT current_database()")
        postgres.sql(found.url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
        yield found
        found.end()
