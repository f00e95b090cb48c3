"""What a settings file and the defaults say, made the words of a ledger: when there is something new, and only then.

Every command brings them, also one that only reads, and with a file of SQLite's there is one writer at a time. So it is
tried on the connection that can only read first: what goes through there wrote nothing, because nothing was new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crewcap.core.limits import CountLimit, RateLimit
from crewcap.stores import Limit
from crewcap.stores.sqlite import beside
from crewcap.stores.sqlite import limits as sqlite_limits
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.windows import Now


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Everything that one file says, or that holds where there is none."""

    limits: Sequence[Limit]
    others: Sequence[RateLimit | CountLimit]
    zone: str
    has_file: bool

    def say(self, db: sqlite3.Connection, now: Now) -> None:
        """Make these the words of the ledger: no more, no less. Who has no file takes back no file's."""
        if not self.has_file and (sqlite_limits.says_file(db) or beside.says_file(db)):
            return
        if db.execute(q.TIME).fetchone()[0] != self.zone:
            sqlite_limits.change_zone(db, self.zone, now)
        sqlite_limits.sync_file(db, self.limits, now)
        beside.sync_file(db, self.others, now)


def is_said(say: Callable[[sqlite3.Connection, Now], None], db: sqlite3.Connection, now: Now) -> bool:
    """Whether there is nothing to write; `db` can only read."""
    try:
        say(db, now)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_READONLY":
            raise
        return False
    return True
