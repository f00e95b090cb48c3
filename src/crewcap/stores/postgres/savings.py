"""What was seen of prompt caches, in the same database as the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import Money
from crewcap.core.savings import CacheTurn
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.values import as_json
from crewcap.stores.postgres.wire import Connection

_WAIT_S = 1.0  # advice does not hold up the ledger's thread for longer

# A row that was written before its gateway was killed may be handed in again; the first one stands.
_ADD = """
INSERT INTO crewcap.cache_turn (hold, run, virtual_key, conversation, gap_ms, kept, lost, cost, broke)
SELECT hold, run, virtual_key, conversation, gap_ms, kept, lost, cost, broke
FROM jsonb_to_recordset($1) AS t (
    hold text, run text, virtual_key text, conversation text, gap_ms bigint, kept bigint, lost bigint, cost bigint,
    broke text
)
ON CONFLICT (hold) DO NOTHING
"""

# Holds are named by the time at which they were made.
_COLUMNS = "SELECT hold, run, virtual_key, conversation, gap_ms, kept, lost, cost, broke FROM crewcap.cache_turn "
_OF_RUN = _COLUMNS + "WHERE run = $1 AND run <> '' ORDER BY hold COLLATE \"C\""
_OF_KEY = _COLUMNS + 'WHERE virtual_key = $1 ORDER BY hold COLLATE "C"'


class PostgresCacheTurns:
    """`CacheTurns` in the ledger's database; the ledger was opened first, because it knows the schema."""

    def __init__(self, url: str) -> None:
        self._session = Session(url, lock_s=_WAIT_S)

    def note(self, turns: Sequence[CacheTurn]) -> None:
        """Remember these, in one statement that does not wait for the disk."""
        rows = as_json([_row(each) for each in turns])
        self._session.run(lambda db: _add(db, rows), again=True)

    def of_run(self, run: str) -> tuple[CacheTurn, ...]:
        """A run's, oldest first."""
        return self._read(_OF_RUN, run)

    def of_key(self, key: KeyId) -> tuple[CacheTurn, ...]:
        """A key's, oldest first."""
        return self._read(_OF_KEY, key)

    def close(self) -> None:
        """End the session, if it was begun."""
        self._session.close()

    def _read(self, sql: str, value: str) -> tuple[CacheTurn, ...]:
        return tuple(_turn(row) for row in self._session.run(lambda db: db.fetch(sql, value), again=True))


async def _add(db: Connection, rows: str) -> None:
    async with db.transaction():
        await db.execute("SET LOCAL synchronous_commit = off")
        await db.execute(_ADD, rows)


def _row(turn: CacheTurn) -> dict[str, Any]:
    return {
        "hold": turn.hold,
        "run": turn.run,
        "virtual_key": turn.key,
        "conversation": turn.conversation,
        "gap_ms": turn.gap_ms,
        "kept": turn.kept,
        "lost": turn.lost,
        "cost": turn.cost.nano,
        "broke": turn.broke,
    }


def _turn(row: Any) -> CacheTurn:
    return CacheTurn(
        hold=HoldId(row["hold"]),
        run=row["run"],
        key=KeyId(row["virtual_key"]),
        conversation=row["conversation"],
        gap_ms=row["gap_ms"],
        kept=row["kept"],
        lost=row["lost"],
        cost=Money(row["cost"]),
        broke=row["broke"],
    )
