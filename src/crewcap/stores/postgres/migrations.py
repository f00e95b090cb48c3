"""Migrations of the database: the numbered files of `sql/postgres/`, run forward, once each, by command.

A gateway never migrates in silence: several of them share the database, and a schema that changes under a running
gateway is an operator's decision. `crewcap ledger migrate` runs what is missing, all of it in one transaction, and
everything that opens the ledger refuses a schema that is not its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache
from importlib import resources

from crewcap.errors import LedgerError
from crewcap.stores.migrations import Migration, check, numbered
from crewcap.stores.postgres.wire import Connection, version_of

OLDEST_SERVER = 14  # procedures with results, and jsonb as it is used here
HELP = "crewcap ledger migrate"

_TABLE = """
CREATE SCHEMA IF NOT EXISTS crewcap;
CREATE TABLE IF NOT EXISTS crewcap.migration (
    number   integer PRIMARY KEY,
    name     text NOT NULL,
    checksum text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
)
"""
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(1128489328, 1)"
_RUN_BEFORE = "SELECT number, name, checksum FROM crewcap.migration ORDER BY number"
_MAKE_IDENTITY = """
INSERT INTO crewcap.ledger (one, uuid, made_at, zone)
VALUES (1, $1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2) ON CONFLICT DO NOTHING
"""


@cache
def known() -> tuple[Migration, ...]:
    """Every migration of the database that this program carries, in order."""
    return numbered(resources.files("crewcap.stores") / "sql" / "postgres")


async def migrate(db: Connection, *, zone: str, migrations: Sequence[Migration] = ()) -> Sequence[Migration]:
    """Bring the database up to date, all or nothing; what was run. `zone` is for new books."""
    ours = migrations or known()
    _refuse_old_server(db)
    async with db.transaction():
        await db.execute(_ONE_AT_A_TIME)
        await db.execute(_TABLE)
        run = await _run_before(db)
        check(ours, run)
        missing = ours[len(run) :]
        for migration in missing:
            await db.execute(migration.sql)
            row = (migration.number, migration.name, migration.checksum)
            await db.execute("INSERT INTO crewcap.migration (number, name, checksum) VALUES ($1, $2, $3)", *row)
        await db.execute(_MAKE_IDENTITY, str(uuid.uuid4()), zone)
    return missing


async def refuse_other_schema(db: Connection, shown: str) -> bool:
    """`LedgerError` unless the schema is this program's own; False where there is none at all."""
    _refuse_old_server(db)
    if not await db.fetchval("SELECT to_regclass('crewcap.migration') IS NOT NULL"):
        return False
    run = await _run_before(db)
    check(known(), run)
    if len(run) < len(known()):
        raise LedgerError(
            f"the database {shown} has schema {len(run)}, this crewcap needs {len(known())}",
            help=f"when no older gateway uses it any more: {HELP}",
        )
    return True


async def _run_before(db: Connection) -> list[tuple[int, str, str]]:
    return [(row[0], row[1], row[2]) for row in await db.fetch(_RUN_BEFORE)]


def _refuse_old_server(db: Connection) -> None:
    version = version_of(db)
    if version.major < OLDEST_SERVER:
        raise LedgerError(
            f"the server is PostgreSQL {version.major}, and crewcap needs {OLDEST_SERVER} or newer",
            help="use a newer server, or leave [store] out of the settings",
        )
