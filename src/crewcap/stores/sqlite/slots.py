"""Places that runs take from one another, in SQLite: counted and taken in one transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from crewcap.core.budget import ALL, Scope
from crewcap.core.runs import Run, RunId
from crewcap.stores.run_rows import places_of

_HAS_PLACES = "SELECT 1 FROM slot WHERE run = ? LIMIT 1"
_COUNT = "SELECT count(*) FROM slot WHERE scope = ?"
_TAKE = "INSERT INTO slot (scope, run) VALUES (?, ?)"
_GIVE_BACK = "DELETE FROM slot WHERE run = ?"
_TAKEN = "SELECT scope, count(*) FROM slot GROUP BY scope"
_ADMITTED = "SELECT run FROM slot WHERE scope = ?"


def take(db: sqlite3.Connection, run: Run, slots: Mapping[Scope, int]) -> Scope | None:
    """A place in every scope of the run, all or none; the first scope that is full."""
    if db.execute(_HAS_PLACES, (run.id,)).fetchone():
        return None
    for scope in places_of(run):
        if scope in slots and db.execute(_COUNT, (scope,)).fetchone()[0] >= slots[scope]:
            return scope
    db.executemany(_TAKE, [(scope, run.id) for scope in places_of(run)])
    return None


def give_back(db: sqlite3.Connection, run: RunId) -> None:
    """All places of a run."""
    db.execute(_GIVE_BACK, (run,))


def taken(db: sqlite3.Connection) -> Mapping[Scope, int]:
    """How many places are taken, by scope."""
    return {Scope(scope): count for scope, count in db.execute(_TAKEN)}


def admitted(db: sqlite3.Connection) -> frozenset[RunId]:
    """Runs that have their places: each has one in `all`."""
    return frozenset(RunId(run) for (run,) in db.execute(_ADMITTED, (ALL,)))
