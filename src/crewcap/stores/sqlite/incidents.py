"""Providers that are frozen because an answer broke what holds rest on, until somebody says that they have looked."""

from __future__ import annotations

import sqlite3

from crewcap.stores import Incident
from crewcap.stores.clock import instant
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.windows import Now


def freeze(db: sqlite3.Connection, provider: str, reason: str, now: Now) -> bool:
    """Remember an incident; False where one of the same provider is not over."""
    row = {"provider": provider, "reason": reason, "at": now.wall}
    return db.execute(q.FREEZE, row).rowcount == 1


def frozen(db: sqlite3.Connection) -> tuple[Incident, ...]:
    """Incidents that nobody has looked at, oldest first."""
    rows = db.execute(q.FROZEN).fetchall()
    return tuple(Incident(provider=provider, reason=reason, at=instant(at)) for provider, reason, at in rows)


def thaw(db: sqlite3.Connection, provider: str, word: str, now: Now) -> bool:
    """Somebody has looked; False where there was nothing to look at."""
    return db.execute(q.THAW, {"provider": provider, "word": word, "at": now.wall}).rowcount == 1
