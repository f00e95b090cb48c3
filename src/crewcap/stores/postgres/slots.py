"""Places that runs take from one another, in PostgreSQL, on all machines together.

Whoever takes places holds one lock of the database until they are taken, so what was counted still holds. Giving back
needs no lock: a place whose return is not committed yet counts as taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from crewcap.core.budget import ALL, Scope
from crewcap.core.runs import Run, RunId
from crewcap.stores.postgres.wire import Connection
from crewcap.stores.run_rows import places_of

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(1128489328, 3)"
_HAS_PLACES = "SELECT EXISTS (SELECT FROM crewcap.slot WHERE run = $1)"
_COUNTED = "SELECT scope, count(*) AS count FROM crewcap.slot WHERE scope = ANY($1::text[]) GROUP BY scope"
_TAKE = "INSERT INTO crewcap.slot (scope, run) SELECT scope, $2 FROM unnest($1::text[]) AS scope"
_GIVE_BACK = "DELETE FROM crewcap.slot WHERE run = $1"
_TAKEN = "SELECT scope, count(*) AS count FROM crewcap.slot GROUP BY scope"
_ADMITTED = "SELECT run FROM crewcap.slot WHERE scope = $1"


async def take(db: Connection, run: Run, slots: Mapping[Scope, int]) -> Scope | None:
    """A place in every scope of the run, all or none; the first scope that is full. The lock is held already."""
    if await db.fetchval(_HAS_PLACES, run.id):
        return None
    places = places_of(run)
    counted = {row["scope"]: row["count"] for row in await db.fetch(_COUNTED, places)}
    for scope in places:
        if scope in slots and counted.get(scope, 0) >= slots[scope]:
            return scope
    await db.execute(_TAKE, places, run.id)
    return None


async def give_back(db: Connection, run: RunId) -> None:
    """All places of a run."""
    await db.execute(_GIVE_BACK, run)


async def taken(db: Connection) -> Mapping[Scope, int]:
    """How many places are taken, by scope."""
    return {Scope(row["scope"]): row["count"] for row in await db.fetch(_TAKEN)}


async def admitted(db: Connection) -> frozenset[RunId]:
    """Runs that have their places: each has one in `all`."""
    return frozenset(RunId(row["run"]) for row in await db.fetch(_ADMITTED, ALL))
