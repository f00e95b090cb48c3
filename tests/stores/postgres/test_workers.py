"""What workers agree on, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_workers import WorkersContract
from tests.stores.postgres_server import Server
from tests.stores.run_books import PostgresRunBooks


class TestPostgresWorkers(WorkersContract):
    """The suite over a database of its own."""

    @pytest.fixture
    def books(self, postgres: Server, tmp_path: Path) -> Iterator[PostgresRunBooks]:
        found = PostgresRunBooks(postgres, tmp_path)
        yield found
        found.end()
