"""Runs in SQLite keep the contract of runs; the file is the ledger's."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.contracts.runs import NOW, RunsContract, a_run

from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns


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

    def test_a_line_has_its_time_when_it_has_its_turn(self, runs: SqliteRuns, tmp_path: Path) -> None:
        """Of two processes that write, the one that waits for the other is the later one."""
        run, other = runs.create(a_run()), sqlite3.connect(tmp_path / "home" / "ledger.db", timeout=0)

        def clock() -> datetime:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            return NOW

        writer = SqliteRuns(Home(tmp_path / "home"), clock=clock)
        writer.log(run.id, "note", "a line of its story")
        assert [event.at for event in runs.story(run.id)] == [NOW]
        writer.close()
        other.close()

    def test_who_follows_a_run_is_told_that_its_books_were_replaced(self, runs: SqliteRuns, tmp_path: Path) -> None:
        """A copy lies in their place by now; the ones that are open here tell of nothing that happens any more."""
        run, books = runs.create(a_run()), tmp_path / "home" / "ledger.db"
        lost = books.with_name("lost.db")
        books.rename(lost)
        for _ in range(2):
            for look in (runs.version, lambda: runs.get(run.id), lambda: runs.story(run.id)):
                with pytest.raises(LedgerError, match="was replaced while this command had it open") as told:
                    look()
                assert "crewcap status shows the one that is there now" in told.value.help
            shutil.copy(lost, books)
        runs.close()
        lost.replace(books)
        runs = SqliteRuns(Home(tmp_path / "home"), clock=lambda: NOW)
        assert runs.get(run.id) == run
        runs.close()

    def test_whoever_looks_on_sees_that_another_wrote_without_reading_again(
        self, runs: SqliteRuns, tmp_path: Path
    ) -> None:
        """A screen that is drawn every second reads the books only when there is something new in them."""
        watcher = SqliteRuns(Home(tmp_path / "home"), clock=lambda: NOW)
        seen = watcher.version()
        assert watcher.version() == seen
        run = runs.create(a_run())
        created = watcher.version()
        assert created != seen
        runs.log(run.id, "note", "a line of its story")
        assert watcher.version() != created
        watcher.close()
