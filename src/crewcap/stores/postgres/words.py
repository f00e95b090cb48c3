"""What is said to runs, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from crewcap.core.runs import RunId, Word, WordKind
from crewcap.stores.clock import instant
from crewcap.stores.postgres.wire import Connection
from crewcap.stores.run_rows import as_said, one_line

_SAY = "INSERT INTO crewcap.word (run, at, kind, text, by) VALUES ($1, $2, $3, $4, $5) RETURNING seq"
_UNHEARD = "SELECT seq, at, kind, text, by FROM crewcap.word WHERE run = $1 AND NOT is_heard ORDER BY seq"
_HEARD = "UPDATE crewcap.word SET is_heard = true WHERE run = $1 AND seq <= $2 AND NOT is_heard"


async def say(db: Connection, run: RunId, kind: WordKind, text: str, *, by: str, at: int) -> int:
    """Leave a word; its number."""
    return int(await db.fetchval(_SAY, run, at, kind, as_said(text), one_line(by)))


async def unheard(db: Connection, run: RunId) -> Sequence[Word]:
    """Words that nobody has acted on, oldest first."""
    return [
        Word(seq=row["seq"], at=instant(row["at"]), kind=row["kind"], text=row["text"], by=row["by"])
        for row in await db.fetch(_UNHEARD, run)
    ]


async def heard(db: Connection, run: RunId, upto: int) -> None:
    """These were acted on."""
    await db.execute(_HEARD, run, upto)
