"""What an operator does to the database by command: bring its schema up to date, accept books that were restored."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from crewcap.core.money import Money
from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home
from crewcap.stores import marker
from crewcap.stores.postgres import values as v
from crewcap.stores.postgres.books import NEWEST, is_elsewhere, place_of, refuse_to_begin_again
from crewcap.stores.postgres.clock import DatabaseClock
from crewcap.stores.postgres.errors import shown
from crewcap.stores.postgres.migrations import HELP, migrate, refuse_other_schema
from crewcap.stores.postgres.schema import wrong_schema
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.wire import Connection

_WAIT_S = 30.0


def bring_up_to_date(url: str, home: Home, *, zone: str) -> Sequence[str]:
    """Run what is missing; the names of the files that were run. Books that were lost are never begun again."""
    session = Session(url, lock_s=_WAIT_S)
    try:
        return session.run(lambda db: _bring_up_to_date(db, url, home, zone), again=False)
    finally:
        session.close()


def accept(url: str, home: Home, *, monotonic: Callable[[], float], cost: Money, word: str) -> None:
    """Take restored books as the ledger from now on; what the provider billed since is booked to `all`."""
    session = Session(url, lock_s=_WAIT_S)
    try:
        session.run(lambda db: _refuse_unfit(db, url, home), again=True)
        clock = DatabaseClock(None, monotonic, seen=None)
        name, is_stale = f"restored-{secrets.token_hex(6)}", True
        while is_stale:
            asked_at, asked = clock.ask()
            values = (str(uuid.uuid4()), name, cost.nano, v.without_nul(word), v.as_json(asked))
            said = msgspec.json.decode(session.run(partial(_accept, values), again=False))
            clock.told(asked_at, said["now"])
            is_stale = said["is_stale"]
    finally:
        session.close()
    home.marker.unlink(missing_ok=True)


async def _bring_up_to_date(db: Connection, url: str, home: Home, zone: str) -> Sequence[str]:
    if not await db.fetchval("SELECT to_regclass('crewcap.migration') IS NOT NULL"):
        refuse_to_begin_again(url, home, marker.read(home.marker))
    return [migration.name for migration in await migrate(db, zone=zone)]


async def _refuse_unfit(db: Connection, url: str, home: Home) -> None:
    """Only sound books are accepted, only where nobody writes to them, and only where that is needed."""
    if not await refuse_other_schema(db, shown(url)):
        raise LedgerError(f"the database {shown(url)} holds no ledger", help=f"restore one into it, or: {HELP}")
    problems = await wrong_schema(db)
    if problems:
        raise LedgerError(f"the ledger {shown(url)} is not sound: {problems[0]}", help="use another backup")
    if await db.fetchval("SELECT crewcap.is_used()"):
        raise UsageError("a gateway of this ledger is running", help="stop it first; it still writes to the ledger")
    seen = marker.read(home.marker)
    found = await db.fetchval("SELECT uuid FROM crewcap.ledger")
    is_copy = is_elsewhere(await place_of(db), seen)
    if seen is None or (not is_copy and found == seen.uuid and await db.fetchval(NEWEST) >= seen.movement):
        raise UsageError(
            f"the ledger {shown(url)} was not restored, as far as this home has seen",
            help="crewcap ledger reconcile, without --restored",
        )


async def _accept(values: Sequence[str | int], db: Connection) -> str:
    return str(await db.fetchval("SELECT crewcap.accept_restored($1, $2, $3, $4, $5)", *values))
