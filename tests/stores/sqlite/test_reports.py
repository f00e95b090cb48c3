"""Reports on a file; what is the same in every store stands in the contract."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.reports import Filled, Opened, ReportsContract

from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.prices import SqlitePriceNotes
from crewcap.stores.sqlite.reports import SqliteReports


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class TestSqliteReports(ReportsContract):
    @pytest.fixture
    def ledger(self, home: Home, clocks: Clocks) -> Iterator[SqliteLedger]:
        ledger = SqliteLedger(home, clock=clocks.clock, monotonic=clocks.monotonic)
        yield ledger
        ledger.close()

    @pytest.fixture
    def opened(self, home: Home) -> Iterator[Opened]:
        made: list[SqliteReports] = []

        def open_(**options: int) -> SqliteReports:
            made.append(SqliteReports(home, **options))
            return made[-1]

        yield open_
        for each in made:
            each.close()

    @pytest.fixture
    def notes(self, home: Home) -> Iterator[SqlitePriceNotes]:
        found = SqlitePriceNotes(home)
        yield found
        found.close()

    @pytest.fixture(autouse=True)
    def _home(self, home: Home) -> None:
        self.path = home.ledger

    def damage(self, statement: str) -> None:
        with sqlite3.connect(self.path) as db:
            db.execute(statement.format(""))
        db.close()

    def test_small_books_are_only_read(self, filled: Filled, opened: Opened) -> None:
        assert len(opened().bundles()) > 3
        assert self._through() == 0
        assert filled.ledger.verify().problems == ()

    @pytest.mark.usefixtures("filled")
    def test_a_report_is_the_same_while_somebody_else_writes(self, opened: Opened) -> None:
        """What cannot be added up now is read from the movements."""
        whole = sorted(opened().bundles(by_key=True))
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert sorted(opened(behind=0).bundles(by_key=True)) == whole
        assert self._through() == 0
        other.close()

    @pytest.mark.usefixtures("filled")
    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_books_that_may_only_be_read_are_reported_as_well(self, opened: Opened) -> None:
        whole = sorted(opened().bundles(by_key=True))
        self.path.chmod(0o400)
        assert sorted(opened(behind=0).bundles(by_key=True)) == whole

    def _through(self) -> int:
        db = sqlite3.connect(self.path)
        found = db.execute("SELECT through FROM bundled").fetchone()[0]
        db.close()
        return int(found)
