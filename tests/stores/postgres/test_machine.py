"""The law of money over PostgreSQL: every decision and every balance is the pure model's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from tests.contracts.ledger_machine import LedgerMachine
from tests.stores.postgres_server import shared
from tests.stores.postgres_shelf import Shelf, abandon

from crewcap.stores.postgres.ledger import PostgresLedger


class PostgresMachine(LedgerMachine):
    """A life in a database of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="crewcap-ledger-"))
        self.shelf = Shelf(shared(), self.folder)
        self.shelf.clocks = self.clocks

    def open_system(self) -> PostgresLedger:
        return self.shelf.open()

    def crash_system(self) -> None:
        """What the operating system does for a dead process: its sessions end, nothing is written."""
        abandon(self.shelf.opened.pop())

    def teardown(self) -> None:
        self.shelf.end()
        shutil.rmtree(self.folder)


TestPostgresLife = PostgresMachine.TestCase
TestPostgresLife.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
