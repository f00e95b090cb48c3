"""`crewcap ledger verify`, for limits beside money: what is in force, what tokens count, what buckets gave.

Tokens are recomputed from holds and movements. Of a bucket the movements tell what was taken; how far it has filled is
the clock's affair, within bounds: it is never fuller than one minute's worth, and never deeper in debt than all that
was taken.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from crewcap.core.limits import PARTS
from crewcap.stores.calendar import Stretch, span_named
from crewcap.stores.sqlite import beside_queries as q
from crewcap.stores.sqlite.limits import strongest
from crewcap.stores.sqlite.room import tokens_in


def wrong_beside(db: sqlite3.Connection) -> Iterator[str]:
    """Each problem is one line."""
    in_force = {tuple(what): (value, source) for *what, value, source, _ in db.execute(q.ALL_IN_FORCE)}
    yield from _wrong_words(db, in_force)
    yield from _wrong_tallies(db, in_force)
    yield from _wrong_buckets(db, in_force)


_InForce = dict[tuple[str, ...], tuple[int, str]]


def _wrong_words(db: sqlite3.Connection, in_force: _InForce) -> Iterator[str]:
    left = dict(in_force)
    for what in db.execute(q.SAID_ABOUT).fetchall():
        named = dict(zip(("scope", "kind", "window"), what, strict=True))
        said = strongest(db.execute(q.SAID, named))
        if (said[:2] if said else None) != left.pop(what, None):
            yield f"the limit in force on {_shown(*what)} is not the one that was said"
    for what in left:
        yield f"nobody set the limit on {_shown(*what)}"


def _wrong_tallies(db: sqlite3.Connection, in_force: _InForce) -> Iterator[str]:
    for scope, kind, window, label, starts_at, ends_at, used in db.execute(q.ALL_TALLIES).fetchall():
        row, here = Stretch(label, starts_at, ends_at), f"{scope} ({kind}, {label})"
        if (scope, kind, window) not in in_force:
            yield f"{here}: a row counts for no limit"
        if row != span_named(window, label, starts_at):
            yield f"{here}: the row does not begin and end as its {window} does"
        counted = tokens_in(db, scope, window, row) if kind == "tokens" else 0
        if used != counted:
            yield f"{here}: {used:,} are counted, its entries say {counted:,}"


def _wrong_buckets(db: sqlite3.Connection, in_force: _InForce) -> Iterator[str]:
    wanted = {(scope, kind): value for (scope, kind, _), (value, _) in in_force.items() if kind in {"tpm", "rpm"}}
    for scope, kind, value, level, since, taken in db.execute(q.ALL_BUCKETS).fetchall():
        here = f"the bucket of {scope} ({kind})"
        if wanted.pop((scope, kind), None) != value:
            yield f"{here} does not have the size of the limit in force"
        told = db.execute(q.TAKEN, {"scope": scope, "kind": kind, "since": since}).fetchone()[0]
        if taken != told:
            yield f"{here}: {taken:,} were taken, its entries say {told:,}"
        if not -taken * PARTS <= level <= value * PARTS:
            yield f"{here} is fuller than a minute fills it, or emptier than what was taken from it"
    for scope, kind in wanted:
        yield f"the bucket of {scope} ({kind}) is missing"


def _shown(scope: str, kind: str, window: str) -> str:
    return f"{scope} ({kind}/{window})" if window else f"{scope} ({kind})"
