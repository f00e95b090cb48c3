"""Backups of the ledger, and putting one in the place of books that were lost.

A backup is a whole ledger in one file that knows that it is a copy. What was spent after it was made is not in it,
so nothing opens it as the ledger until an operator has said so, and has booked what the provider billed since.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from pathlib import Path

from crewcap.errors import LedgerError, UsageError
from crewcap.stores import sqlite_queries as q
from crewcap.stores.sqlite_books import translated


def backup(db: sqlite3.Connection, path: str, *, at: int) -> None:
    """Write a consistent copy to a new file, for its owner alone, and read it back."""
    target = Path(path)
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise UsageError(f"{path} exists; a backup never replaces a file", help="name a new file") from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", help="name a file in a folder of yours"
        ) from error
    try:
        with translated(target):
            _copy(db, target, at=at)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy(db: sqlite3.Connection, target: Path, *, at: int) -> None:
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it to lose
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute(q.MARK_COPY, {"at": at})
        if copy.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise LedgerError(f"the backup {target} could not be read back", help="crewcap ledger verify")
    finally:
        copy.close()


def adopt(db: sqlite3.Connection) -> str:
    """Accept a copy, or older books, as the ledger from now on, under a name that no marker knows."""
    fresh = str(uuid.uuid4())
    db.execute(q.ADOPT_COPY, {"uuid": fresh})
    return fresh
