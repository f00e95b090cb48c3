"""What was seen of prompt caches, in the same file as the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cached_property

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import Money
from crewcap.core.savings import CacheTurn
from crewcap.errors import LedgerError
from crewcap.home import Home

_WAIT_S = 1.0  # for another writer; advice does not hold up the ledger's thread for longer

# A row that was written before its gateway was killed may be handed in again; the first one stands.
_ADD = """
INSERT INTO cache_turn (hold, run, virtual_key, conversation, gap_ms, kept, lost, cost, broke)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hold) DO NOTHING
"""

# Holds are named by the time at which they were made.
_SELECT = """
SELECT hold, run, virtual_key, conversation, gap_ms, kept, lost, cost, broke FROM cache_turn
WHERE {} = ? ORDER BY hold
"""


class SqliteCacheTurns:
    """`CacheTurns` on the home's ledger file; the ledger has made the table."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def note(self, turns: Sequence[CacheTurn]) -> None:
        """Remember these, in one transaction."""
        rows = [
            (
                each.hold,
                each.run,
                each.key,
                each.conversation,
                each.gap_ms,
                each.kept,
                each.lost,
                each.cost.nano,
                each.broke,
            )
            for each in turns
        ]
        try:
            with self._db:
                self._db.executemany(_ADD, rows)
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self._home.ledger} cannot be written: {error}") from error

    def of_run(self, run: str) -> tuple[CacheTurn, ...]:
        """A run's, oldest first."""
        return self._read("run", run)

    def of_key(self, key: KeyId) -> tuple[CacheTurn, ...]:
        """A key's, oldest first."""
        return self._read("virtual_key", key)

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_db" in self.__dict__:
            self._db.close()

    def _read(self, column: str, value: str) -> tuple[CacheTurn, ...]:
        return tuple(
            CacheTurn(
                hold=HoldId(hold),
                run=run,
                key=KeyId(key),
                conversation=conversation,
                gap_ms=gap_ms,
                kept=kept,
                lost=lost,
                cost=Money(cost),
                broke=broke,
            )
            for hold, run, key, conversation, gap_ms, kept, lost, cost, broke in self._db.execute(
                _SELECT.format(column), (value,)
            )
        )

    @cached_property
    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._home.ledger, timeout=_WAIT_S, check_same_thread=False)
        db.execute("PRAGMA synchronous = NORMAL")
        return db
