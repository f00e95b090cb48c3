"""Recognising the books: the right database, at least as new as what this home has seen of it.

The marker beside the home's other state remembers which ledger it was and its newest movement, as it does for a file.
A database that was recreated, restored from a week ago, or is another one altogether would give every budget back.
"""

from __future__ import annotations

from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores import marker
from crewcap.stores.postgres.errors import shown
from crewcap.stores.postgres.migrations import HELP, refuse_other_schema
from crewcap.stores.postgres.wire import Connection

COPIED = "this home knows these books from another database: what was spent there since the copy is not in them"
_MAY_ASK = "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'execute')"
_PLACE = """SELECT format('%s/%s', (SELECT system_identifier FROM pg_catalog.pg_control_system()),
    (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))"""
NEWEST = "SELECT coalesce(max(id), 0) FROM crewcap.movement"
_UUID = "SELECT uuid FROM crewcap.ledger"
_NEWEST_OF = "SELECT uuid, (SELECT coalesce(max(id), 0) FROM crewcap.movement) FROM crewcap.ledger"
_RESTORE = "restore a backup of it (pg_restore), then: crewcap ledger reconcile --restored"


async def recognise(db: Connection, url: str, home: Home, seen: marker.Marker | None) -> str:
    """The ledger's uuid; `LedgerError` for a database that is not the one, or not as new as it was."""
    if not await refuse_other_schema(db, shown(url)):
        if seen is not None:
            raise _lost(url, home, seen)
        raise LedgerError(
            f"the database {shown(url)} holds no ledger yet", help=f"make it once, for all gateways: {HELP}"
        )
    found = await db.fetchval(_UUID)
    if seen is None:
        return str(found)
    if found != seen.uuid:
        raise _foreign(url, home)
    newest = await db.fetchval(NEWEST)
    if newest < seen.movement:
        raise LedgerError(
            f"the ledger {shown(url)} is older than it was: it ends at movement {newest}, and {seen.movement} was seen"
            f" at {seen.at:%Y-%m-%d %H:%M} UTC",
            help="restore the newest backup of it; if there is none: crewcap ledger reconcile --restored [--cost USD]",
        )
    return str(found)


async def newest_of(db: Connection, url: str, uuid: str) -> int:
    """The newest movement of the books that were opened; `LedgerError` where others are in their place by now."""
    here, newest = await db.fetchrow(_NEWEST_OF)
    if here != uuid:
        raise LedgerError(
            f"the ledger {shown(url)} was replaced while this command had it open",
            help="crewcap status shows the one that is there now; crewcap logs -f RUN follows a run in it",
        )
    return int(newest)


async def place_of(db: Connection) -> str:
    """Which database of which server this is: a copy is another one, a promoted replica is not. Empty = not told."""
    return str(await db.fetchval(_PLACE)) if await db.fetchval(_MAY_ASK) else ""


def is_elsewhere(place: str, seen: marker.Marker | None) -> bool:
    """Whether this home knows the same books from another database, which only a copy can explain."""
    return bool(seen is not None and seen.place and place and place != seen.place)


def refuse_to_begin_again(url: str, home: Home, seen: marker.Marker | None) -> None:
    """New books would have full budgets: never where this home has kept books before."""
    if seen is None:
        return
    if home.ledger.exists():
        raise _foreign(url, home)
    raise _lost(url, home, seen)


def _foreign(url: str, home: Home) -> LedgerError:
    if home.ledger.exists():
        return LedgerError(
            f"this home keeps its books in {home.ledger}, and the settings name the database {shown(url)}",
            help=f"take [store] out of the settings; or, to leave those books behind: move ledger.db away and remove"
            f" {home.marker}",
        )
    return LedgerError(
        f"the ledger {shown(url)} is not the one that was here before",
        help=f"name the right database; if it was restored, and accepted on another machine: rm {home.marker}",
    )


def _lost(url: str, home: Home, seen: marker.Marker) -> LedgerError:
    return LedgerError(
        f"the database {shown(url)} holds no ledger, and {seen.movement} movements were in it at"
        f" {seen.at:%Y-%m-%d %H:%M} UTC",
        help=f"{_RESTORE}; to begin new books with full budgets, remove {home.marker}",
    )
