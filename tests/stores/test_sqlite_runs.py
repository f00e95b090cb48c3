"""Runs in SQLite keep the contract of runs; the file is the ledger's."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.runs import NOW, RunsContract, a_run

from crewcap.home import Home
from crewcap.stores.sqlite import SqliteLedger
from crewcap.stores.sqlite_runs import SqliteRuns


class TestSqliteRuns(RunsContract):
    """The suite over the ledger's file."""

    @pytest.fixture
    def runs(self, tmp_path: Path) -> Iterator[SqliteRuns]:
        home = Home(tmp_path / "home")
        home.make()
        ledger = SqliteLedger(home, clock=lambda: NOW, monotonic=time.monotonic, zone="UTC")
        store = SqliteRuns(home, clock=lambda: NOW)
        yield store
        store.close()
        ledger.close()

    def test_a_story_cannot_be_rewritten(self, runs: SqliteRuns, tmp_path: Path) -> None:
        run = runs.create(a_run())
        runs.log(run.id, "note", "it was so")
        with (
            sqlite3.connect(tmp_path / "home" / "ledger.db") as other,
            pytest.raises(sqlite3.IntegrityError, match="append"),
        ):
            other.execute("UPDATE run_event SET text = 'it was otherwise'")
