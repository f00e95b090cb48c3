"""Places are exact in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_slots import SlotsContract
from tests.stores.run_books import SqliteRunBooks


class TestSqliteSlots(SlotsContract):
    """The suite over the ledger's file."""

    @pytest.fixture
    def books(self, tmp_path: Path) -> Iterator[SqliteRunBooks]:
        found = SqliteRunBooks(tmp_path)
        yield found
        found.end()
