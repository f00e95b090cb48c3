"""What workers agree on, in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_workers import WorkersContract
from tests.stores.run_books import SqliteRunBooks


class TestSqliteWorkers(WorkersContract):
    """The suite over the ledger's file."""

    @pytest.fixture
    def books(self, tmp_path: Path) -> Iterator[SqliteRunBooks]:
        found = SqliteRunBooks(tmp_path)
        yield found
        found.end()
