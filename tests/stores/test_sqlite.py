"""The ledger on SQLite keeps the ledger's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger import LedgerContract
from tests.stores.crash import abandon

from crewcap.home import Home
from crewcap.stores.sqlite import SqliteLedger


class TestSqliteLedger(LedgerContract):
    """The suite over a file in a folder of its own."""

    @pytest.fixture
    def opened(self, tmp_path: Path, clocks: Clocks) -> Iterator[Callable[[], SqliteLedger]]:
        ledgers: list[SqliteLedger] = []

        def open_() -> SqliteLedger:
            home = Home(tmp_path / "home")
            ledgers.append(SqliteLedger(home, clock=clocks.clock, monotonic=clocks.monotonic, zone="UTC"))
            return ledgers[-1]

        yield open_
        for ledger in ledgers:
            abandon(ledger)
