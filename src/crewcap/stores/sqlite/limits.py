"""Limits: what each source said, and which of them counts.

A word by command outranks what a key or a run brought along, which outranks the settings file, which outranks the
defaults; taking a word back puts the next one in force. Every word is kept, so a limit's version (the number of the
change that put it in force) never comes back: who latched on a version knows when to look again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from crewcap.core.budget import Scope, Window
from crewcap.core.money import ZERO, Money
from crewcap.errors import UsageError
from crewcap.stores import Limit, LimitSource
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.room import keep_windows
from crewcap.stores.sqlite.windows import Now, all_balances

_RANK: Mapping[str, int] = {"command": 0, "key": 1, "run": 1, "file": 2, "default": 3}


def say(db: sqlite3.Connection, limit: Limit, now: Now) -> None:
    """Set what one source says; saying the same again changes nothing."""
    if limit.amount < ZERO:
        raise UsageError(f"a budget cannot be negative: {limit.amount.exact()}", help="write it as 25.00")
    _say(db, limit.scope, limit.window, limit.source, limit.amount, now)


def unsay(db: sqlite3.Connection, scope: Scope, window: Window, source: LimitSource, now: Now) -> bool:
    """Take back what one source said; False where it said nothing."""
    return _say(db, scope, window, source, None, now)


def sync_file(db: sqlite3.Connection, limits: Iterable[Limit], now: Now) -> None:
    """Make the file's and the defaults' words those given: no more, no less."""
    wanted = {(limit.scope, limit.window, limit.source): limit for limit in limits}
    for scope, window, source in db.execute(q.SAID_BY_FILE).fetchall():
        if (scope, window, source) not in wanted:
            unsay(db, scope, window, source, now)
    for limit in wanted.values():
        say(db, limit, now)


def says_file(db: sqlite3.Connection) -> bool:
    """Whether a settings file's word stands: who has no file may not take it back."""
    return any(source == "file" for _, _, source in db.execute(q.SAID_BY_FILE))


def change_zone(db: sqlite3.Connection, zone: str, now: Now) -> None:
    """Count in another zone from now on. Every limit's row in the old zone is made first: it counts until it ends."""
    all_balances(db, now, write=True)
    keep_windows(db, now)
    db.execute(q.SET_ZONE, {"zone": zone})


def strongest(said: Iterable[tuple[str, int | None, int]]) -> tuple[int, str, int] | None:
    """Of every source's newest word (source, limit, number of the change): the limit in force, its source and version.

    The version is the newest change of all: a word that only lost its strength is news as well.
    """
    words = list(said)
    standing = [(_RANK[source], -change, source, limit) for source, limit, change in words if limit is not None]
    if not standing:
        return None
    _, _, source, limit = min(standing)
    return limit, source, max(change for _, _, change in words)


def _say(
    db: sqlite3.Connection, scope: Scope, window: Window, source: LimitSource, amount: Money | None, now: Now
) -> bool:
    about: dict[str, str] = {"scope": scope, "window": window}
    before = db.execute(q.SAID_BY, about | {"source": source}).fetchone()
    limit_nano = None if amount is None else amount.nano
    if (before[0] if before else None) == limit_nano:
        return False
    db.execute(q.SAY_LIMIT, about | {"source": source, "limit_nano": limit_nano, "at": now.at})
    _enforce(db, about, now)
    return True


def _enforce(db: sqlite3.Connection, about: dict[str, str], now: Now) -> None:
    """Put the strongest word in force, in every window that is not over."""
    chosen = strongest(db.execute(q.SAID, about))
    if chosen is None:
        db.execute(q.LIFT, about)
        db.execute(q.LIFT_IN_WINDOWS, about)
        return
    limit_nano, source, version = chosen
    before = db.execute(q.IN_FORCE, about).fetchone()
    if before is None or before[:2] != (limit_nano, source):
        row = about | {"limit_nano": limit_nano, "source": source, "version": version}
        db.execute(q.ENFORCE, row)
        db.execute(q.ENFORCE_IN_WINDOWS, about | {"limit_nano": limit_nano, "at": now.at})
