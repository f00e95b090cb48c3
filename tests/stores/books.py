"""Ledgers on disk for the stores' tests: made, filled, and looked at behind their back."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, BootId, Decision, Granted, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.home import Home
from crewcap.stores import Ledger, Limit, Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger

usd = Money.usd


class Shelf:
    """One home with its clocks; ledgers are opened on it as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.clocks = Clocks()

    def open(self, *, busy_s: float = 5.0, zone: str = "UTC") -> SqliteLedger:
        return SqliteLedger(
            self.home, clock=self.clocks.clock, monotonic=self.clocks.monotonic, zone=zone, busy_s=busy_s
        )

    def filled(self, *, cap: str = "1.00") -> tuple[SqliteLedger, BootId]:
        """A ledger with key k1, its cap, a daily budget of $25, and one settled request of $0.10."""
        ledger = self.open()
        boot = ledger.start_boot()
        add_key(ledger, "k1", cap=cap, at=self.clocks.wall)
        ledger.set_limit(Limit(scope=ALL, window="day", amount=usd("25"), source="command"))
        assert isinstance(reserve(ledger, boot, "first", "0.30"), Granted)
        assert settle(ledger, "first", "0.10")
        return ledger, boot

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Do something to the file that no ledger would."""
        db = sqlite3.connect(self.home.ledger, isolation_level=None)
        try:
            return db.execute(statement, values).fetchall()
        finally:
            db.close()


def add_key(ledger: SqliteLedger, name: str, *, cap: str | None, at: datetime) -> None:
    scopes = (Scope(f"key:{name}"), Scope("repo:a"), ALL)
    key = VirtualKey(id=KeyId(name), hash=f"hash-{name}", scopes=scopes, created_at=at)
    ledger.add_key(key, cap=None if cap is None else usd(cap))


def reserve(ledger: Ledger, boot: BootId, hold: str, amount: str, *, key: str = "k1") -> Decision:
    return ledger.reserve(order(hold, boot=boot, key=key, amount=usd(amount)))


def settle(ledger: Ledger, hold: str, spent: str) -> bool:
    end = Settlement(hold=HoldId(hold), kind="settled", spent=usd(spent), uncertain=ZERO, usage=Usage(input=1))
    return ledger.settle(end)
