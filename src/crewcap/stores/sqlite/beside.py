"""Limits beside money as they were said: rates and counts, by which source, and which word counts.

The rule is that of money (`limits`): a command outranks what came along, which outranks the file, which outranks
the defaults. A rate in force has a bucket from that moment on: a new one is full, one that is made larger or smaller
keeps what is in it, or its debt. A count in force looks into its window, so what was used before counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from crewcap.core.budget import CountKind, RateKind, Scope, Window
from crewcap.core.limits import PARTS, Bucket, CountLimit, RateLimit, Source, bounds
from crewcap.errors import UsageError
from crewcap.stores.sqlite import beside_queries as q
from crewcap.stores.sqlite.limits import strongest
from crewcap.stores.sqlite.windows import Now

About = tuple[Scope, RateKind | CountKind, Window | str]


def say(db: sqlite3.Connection, limit: RateLimit | CountLimit, now: Now) -> None:
    """Set what one source says; saying the same again changes nothing."""
    least, most = bounds(limit.kind)
    if not least <= limit.value <= most:
        raise UsageError(
            f"{limit.value:,} is not a limit of {limit.kind}", help=f"give a whole number from {least} to {most:,}"
        )
    _say(db, about(limit), limit.source, limit.value, now)


def unsay(db: sqlite3.Connection, what: About, source: Source, now: Now) -> bool:
    """Take back what one source said; False where it said nothing."""
    return _say(db, what, source, None, now)


def sync_file(db: sqlite3.Connection, limits: Iterable[RateLimit | CountLimit], now: Now) -> None:
    """Make the file's and the defaults' words those given: no more, no less."""
    wanted = {(*about(limit), limit.source): limit for limit in limits}
    for scope, kind, window, source in db.execute(q.SAID_BY_FILE).fetchall():
        if (scope, kind, window, source) not in wanted:
            unsay(db, (scope, kind, window), source, now)
    for limit in wanted.values():
        say(db, limit, now)


def says_file(db: sqlite3.Connection) -> bool:
    """Whether a settings file's word stands."""
    return any(source == "file" for *_, source in db.execute(q.SAID_BY_FILE))


def about(limit: RateLimit | CountLimit) -> About:
    """What a limit is on; a rate has no window."""
    return limit.scope, limit.kind, limit.window if isinstance(limit, CountLimit) else ""


def _say(db: sqlite3.Connection, what: About, source: Source, value: int | None, now: Now) -> bool:
    named: dict[str, str] = dict(zip(("scope", "kind", "window"), what, strict=True))
    before = db.execute(q.SAID_BY, named | {"source": source}).fetchone()
    if (before[0] if before else None) == value:
        return False
    db.execute(q.SAY, named | {"source": source, "value": value, "at": now.at})
    _enforce(db, named, now)
    return True


def _enforce(db: sqlite3.Connection, named: dict[str, str], now: Now) -> None:
    """Put the strongest word in force."""
    chosen = strongest(db.execute(q.SAID, named))
    if chosen is None:
        for lift in (q.LIFT, q.LIFT_TALLY, q.LIFT_BUCKET):
            db.execute(lift, named)
        return
    value, source, version = chosen
    before = db.execute(q.IN_FORCE, named).fetchone()
    if before != (value, source):
        db.execute(q.ENFORCE, named | {"value": value, "source": source, "version": version})
    if named["kind"] in {"tpm", "rpm"}:
        _size_bucket(db, named, value, now)


def _size_bucket(db: sqlite3.Connection, named: dict[str, str], value: int, now: Now) -> None:
    """A bucket of this many; it is filled up to now at its old rate, and can hold no more than its new size."""
    row = db.execute(q.BUCKET, named).fetchone()
    if row is None:
        full = Bucket.full(value, now.wall)
        db.execute(q.ADD_BUCKET, named | {"value": value, "level": full.level, "at": full.at})
        return
    before, level, at = row
    filled = Bucket(level, at).filled(before, now.wall)
    db.execute(q.SET_BUCKET, named | {"value": value, "level": min(filled.level, value * PARTS), "at": filled.at})
