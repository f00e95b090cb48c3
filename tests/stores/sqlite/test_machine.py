"""The law of money over the real store: every decision and every balance is the pure model's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from tests.contracts.ledger_machine import LedgerMachine
from tests.stores.crash import abandon

from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger


class SqliteMachine(LedgerMachine):
    """A life in a folder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="crewcap-ledger-"))
        self.open: list[SqliteLedger] = []

    def open_system(self) -> SqliteLedger:
        ledger = SqliteLedger(
            Home(self.folder / "home"), clock=self.clocks.clock, monotonic=self.clocks.monotonic, zone="UTC"
        )
        self.open.append(ledger)
        return ledger

    def crash_system(self) -> None:
        """What the operating system does for a dead process: locks fall, nothing is written."""
        abandon(self.open.pop())

    def teardown(self) -> None:
        for ledger in self.open:
            abandon(ledger)
        shutil.rmtree(self.folder)


TestSqliteLife = SqliteMachine.TestCase
TestSqliteLife.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
