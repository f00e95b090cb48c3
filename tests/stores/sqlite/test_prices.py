"""What is remembered of prices is kept beside the books, in their file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.price_notes import KEPT, PriceNotesContract

from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.prices import SqlitePriceNotes


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With books in it: the ledger makes the tables."""
    made = Home(tmp_path / "home")
    made.make()
    SqliteLedger(made, clock=lambda: datetime.now(UTC), monotonic=time.monotonic).close()
    return made


class TestSqlitePriceNotes(PriceNotesContract):
    """The whole suite."""

    @pytest.fixture
    def store(self, home: Home) -> Iterator[SqlitePriceNotes]:
        found = SqlitePriceNotes(home)
        yield found
        found.close()


def test_kept_cards_are_never_changed_nor_deleted(home: Home) -> None:
    store = SqlitePriceNotes(home)
    store.keep([KEPT])
    store.close()
    with sqlite3.connect(home.ledger) as db:
        for change in ("UPDATE card SET document = ''", "DELETE FROM card"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(change)
    db.close()


def test_the_books_are_sound_with_it(home: Home) -> None:
    store = SqlitePriceNotes(home)
    store.keep([KEPT])
    store.close()
    ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    assert ledger.verify().problems == ()
    ledger.close()


def test_a_file_that_cannot_be_read_is_named(home: Home) -> None:
    home.ledger.write_bytes(b"no database" * 1_000)
    with pytest.raises(LedgerError, match="not a database"):
        SqlitePriceNotes(home).kept()
