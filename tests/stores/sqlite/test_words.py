"""What is said to runs, and answered, in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_words import WordsContract
from tests.stores.run_books import SqliteRunBooks


class TestSqliteWords(WordsContract):
    """The suite over the ledger's file."""

    @pytest.fixture
    def books(self, tmp_path: Path) -> Iterator[SqliteRunBooks]:
        found = SqliteRunBooks(tmp_path)
        yield found
        found.end()
