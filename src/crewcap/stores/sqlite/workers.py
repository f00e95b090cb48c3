"""What workers agree on, in SQLite: who lives, which ticks were dealt with, and who may do something alone.

The right to do something alone is a lock on a file of the home, which the operating system takes back from a process
that dies. The file stays: one that was removed could be locked by two, each on a file of its own.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from crewcap.home import Home
from crewcap.stores import Tick, WorkerSeen
from crewcap.stores.clock import instant, micros

_NOTE_TICK = "INSERT INTO tick (schedule, at, run, note) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_TICKS = "SELECT schedule, at, run, note FROM tick WHERE schedule = ? ORDER BY at DESC LIMIT ?"
_BEAT = "UPDATE worker SET seen_at = ?, version = ? WHERE name = ?"
_COME = "INSERT INTO worker (seen_at, version, name) VALUES (?, ?, ?)"
_WORKERS = "SELECT name, seen_at, version FROM worker WHERE seen_at < ? ORDER BY name"
_FORGET = "DELETE FROM worker WHERE name = ?"
_LATEST = 2**63 - 1


def note_tick(db: sqlite3.Connection, tick: Tick) -> bool:
    """Remember what came of a tick, once."""
    return db.execute(_NOTE_TICK, (tick.schedule, micros(tick.at), tick.run, tick.note)).rowcount == 1


def ticks(db: sqlite3.Connection, schedule: str, limit: int) -> Sequence[Tick]:
    """Newest first."""
    return [
        Tick(schedule=name, at=instant(at), run=run, note=note)
        for name, at, run, note in db.execute(_TICKS, (schedule, limit))
    ]


def beat(db: sqlite3.Connection, worker: str, *, version: str, at: int) -> bool:
    """This worker is alive; whether it was known to be."""
    is_known = db.execute(_BEAT, (at, version, worker)).rowcount == 1
    if not is_known:
        db.execute(_COME, (at, version, worker))
    return is_known


def workers(db: sqlite3.Connection, *, before: int | None) -> Sequence[WorkerSeen]:
    """Workers that were last seen before an instant, or all."""
    rows = db.execute(_WORKERS, (_LATEST if before is None else before,))
    return [WorkerSeen(name=name, seen_at=instant(at), version=version) for name, at, version in rows]


def forget_worker(db: sqlite3.Connection, worker: str) -> None:
    """It is gone."""
    db.execute(_FORGET, (worker,))


@contextmanager
def alone(home: Home, name: str) -> Iterator[bool]:
    """Whether we are the only one, until the end of the block."""
    home.make()
    path = home.root / f"{quote(name, safe='')}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        is_ours = _locked(file.fileno())
        try:
            yield is_ours
        finally:
            if is_ours:  # at once, also where a child that was just forked still has the file
                fcntl.flock(file, fcntl.LOCK_UN)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
