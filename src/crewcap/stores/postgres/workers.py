"""What workers agree on, in PostgreSQL: who lives, which ticks were dealt with, and who may do something alone.

The database's clock says how long a worker has been silent: the machines' own clocks differ. The right to do something
alone is an advisory lock of a session of its own, which the server takes back when that session's process is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from crewcap.stores import Tick, WorkerSeen
from crewcap.stores.clock import instant, micros
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.wire import Connection

_NOTE_TICK = """
INSERT INTO crewcap.tick (schedule, at, run, note) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true
"""
_TICKS = "SELECT schedule, at, run, note FROM crewcap.tick WHERE schedule = $1 ORDER BY at DESC LIMIT $2"
_BEAT = """
INSERT INTO crewcap.worker (name, seen_at, version)
VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, version = excluded.version
RETURNING xmax <> 0
"""
_WORKERS = "SELECT name, seen_at, version FROM crewcap.worker ORDER BY name"
_SILENT = """
SELECT name, seen_at, version FROM crewcap.worker
WHERE seen_at < (extract(epoch FROM clock_timestamp()) - $1::double precision) * 1000000 ORDER BY name
"""
_FORGET = "DELETE FROM crewcap.worker WHERE name = $1"
_TAKE_ALONE = "SELECT pg_try_advisory_lock(hashtextextended('crewcap: ' || $1, 0))"


async def note_tick(db: Connection, tick: Tick) -> bool:
    """Remember what came of a tick, once."""
    return bool(await db.fetchval(_NOTE_TICK, tick.schedule, micros(tick.at), tick.run, tick.note))


async def ticks(db: Connection, schedule: str, limit: int) -> Sequence[Tick]:
    """Newest first."""
    return [
        Tick(schedule=row["schedule"], at=instant(row["at"]), run=row["run"], note=row["note"])
        for row in await db.fetch(_TICKS, schedule, limit)
    ]


async def beat(db: Connection, worker: str, version: str) -> bool:
    """This worker is alive; whether it was known to be."""
    return bool(await db.fetchval(_BEAT, worker, version))


async def workers(db: Connection, silent_s: float | None) -> Sequence[WorkerSeen]:
    """Workers that have been silent for longer than this, or all."""
    rows = await (db.fetch(_WORKERS) if silent_s is None else db.fetch(_SILENT, silent_s))
    return [WorkerSeen(name=row["name"], seen_at=instant(row["seen_at"]), version=row["version"]) for row in rows]


async def forget_worker(db: Connection, worker: str) -> None:
    """It is gone."""
    await db.execute(_FORGET, worker)


@contextmanager
def alone(url: str, name: str, *, lock_s: float) -> Iterator[bool]:
    """Whether we are the only one on any machine, until the end of the block."""
    session = Session(url, lock_s=lock_s)
    try:
        yield session.run(lambda db: _take_alone(db, name), again=True)
    finally:
        session.close()


async def _take_alone(db: Connection, name: str) -> bool:
    return bool(await db.fetchval(_TAKE_ALONE, name))
