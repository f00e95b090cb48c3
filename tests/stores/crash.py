"""Ends of a ledger that are not its own doing."""

from __future__ import annotations

from crewcap.stores.sqlite.ledger import SqliteLedger


def abandon(ledger: SqliteLedger) -> None:
    """End a ledger as `kill -9` would: no marker, no farewell, its locks free."""
    for lock in ledger._boots.values():
        lock._file.close()
    ledger._books.close()
