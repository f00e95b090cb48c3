"""Migrations: the numbered files of `sql/sqlite/`, run forward, once each, never edited after they landed.

Each file is one transaction together with the row that remembers it by name and checksum. A ledger that knows a
migration which this program does not was written by a newer crewcap and is refused before anything is written; so
is one whose migration has another checksum than ours.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from crewcap.errors import InternalError, LedgerError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"(?P<number>\d{4})_\w+\.sql\Z")

# One row for each migration that was run on this file.
_TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    number   INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells an edited file from the one that was run."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def known() -> tuple[Migration, ...]:
    """Every migration that this program carries, in order."""
    from importlib import resources  # noqa: PLC0415  (as slow to import as a small index to open)

    return numbered(resources.files("crewcap.stores") / "sql" / "sqlite")


def numbered(folder: Traversable) -> tuple[Migration, ...]:
    """The numbered files of a folder, in order."""
    files = (file for file in folder.iterdir() if _NAME.match(file.name))
    found = sorted(
        (Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files),
        key=lambda migration: migration.number,
    )
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise InternalError("the migrations are not numbered 1, 2, 3, ... without a gap")
    return tuple(found)


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] | None = None) -> None:
    """Bring a file up to date; `LedgerError` where it is newer than this program or was migrated otherwise.

    The connection must be in autocommit mode (`isolation_level=None`), outside a transaction.
    """
    ours = known() if migrations is None else tuple(migrations)
    run = _run_before(db)
    check(ours, run)
    for migration in ours[len(run) :]:
        _apply(db, migration)


def _run_before(db: sqlite3.Connection) -> list[tuple[int, str, str]]:
    """What was run on this file, in order; nothing for a file without the table."""
    exists = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'").fetchone()
    return db.execute("SELECT number, name, checksum FROM migration ORDER BY number").fetchall() if exists else []


def check(ours: Sequence[Migration], run: Sequence[tuple[int, str, str]]) -> None:
    """`LedgerError` where what was run is newer than ours, or was another file than ours."""
    if len(run) > len(ours):
        raise LedgerError(
            f"the ledger has schema {len(run)} ({run[-1][1]}), this crewcap knows {len(ours)}: a newer one wrote it",
            help="use the newer crewcap; books are never taken back to an older schema",
        )
    for migration, (number, name, checksum) in zip(ours, run, strict=False):
        if (migration.number, migration.checksum) != (number, checksum):
            raise LedgerError(
                f"the ledger was made by another {name} than the one of this crewcap",
                help="use the crewcap that made this ledger; a migration is never edited once it has landed",
            )


def _apply(db: sqlite3.Connection, migration: Migration) -> None:
    """Run one file and remember it, together or not at all; another process may have been faster."""
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute(_TABLE)
        if not db.execute("SELECT 1 FROM migration WHERE number = ?", (migration.number,)).fetchone():
            for statement in statements(migration.sql):
                db.execute(statement)
            row = (migration.number, migration.name, migration.checksum)
            db.execute("INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)", row)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(sql: str) -> list[str]:
    """Cut a script into statements; SQLite itself says where one ends (a trigger's body has semicolons, too)."""
    *pieces, rest = sql.split(";")
    found, begun = [], ""
    for piece in pieces:
        begun += piece + ";"
        if sqlite3.complete_statement(begun):
            found.append(begun.strip())
            begun = ""
    return [*found, *filter(None, [(begun + rest).strip()])]
