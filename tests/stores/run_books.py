"""The books of runs of both stores, opened as often as a test likes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tests.contracts.clocks import Clocks
from tests.contracts.runs import NOW
from tests.stores.postgres_server import Server

from crewcap.home import Home
from crewcap.stores import RunStore
from crewcap.stores.postgres.runs import PostgresRuns
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns


class SqliteRunBooks:
    """A home with its ledger; its clock is the test's."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.clocks = Clocks(NOW)
        SqliteLedger(self.home, clock=self.clocks.clock, monotonic=self.clocks.monotonic, zone="UTC").close()
        self._opened: list[SqliteRuns] = []

    @property
    def words(self) -> Sequence[str]:
        return "sqlite", "", str(self.home.root)

    def open(self) -> SqliteRuns:
        self._opened.append(SqliteRuns(self.home, clock=self.clocks.clock))
        return self._opened[-1]

    def let_pass(self, seconds: float) -> None:
        self.clocks.pass_time(timedelta(seconds=seconds))

    def end(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            store.close()


class PostgresRunBooks:
    """A database, and homes on it; the clock of workers is the database's."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.url, self._folder = server, server.migrated(), folder
        self._opened: list[PostgresRuns] = []

    @property
    def words(self) -> Sequence[str]:
        return "postgres", self.url, str(self._folder / "elsewhere")

    def open(self, home: str = "home") -> PostgresRuns:
        self._opened.append(PostgresRuns(Home(self._folder / home), self.url, clock=lambda: NOW))
        return self._opened[-1]

    def let_pass(self, seconds: float) -> None:
        """The database's clock cannot be moved, so what was seen is moved back."""
        self.server.sql(self.url, "UPDATE crewcap.worker SET seen_at = seen_at - $1", round(seconds * 1_000_000))

    def end(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            store.close()


def opened_by(kind: str, url: str, home: str) -> RunStore:
    """A store in a process of its own; on a database it is another home's."""
    if kind == "sqlite":
        return SqliteRuns(Home(Path(home)), clock=lambda: NOW)
    return PostgresRuns(Home(Path(home)), url, clock=lambda: NOW)
