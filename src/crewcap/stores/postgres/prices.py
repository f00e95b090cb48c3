"""What is remembered of prices, in the same database as the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crewcap.core.cards import Kept, Unpriced, as_text, from_text
from crewcap.stores.clock import instant, micros
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.values import as_json
from crewcap.stores.postgres.wire import Connection
from crewcap.stores.price_notes import MOST_UNPRICED

_WAIT_S = 1.0  # this does not hold up the ledger's thread for longer

# A card, once.
_KEEP = """
INSERT INTO crewcap.card (id, document, book, at)
SELECT c.id, c.document, c.book, c.at FROM jsonb_to_recordset($1) AS c (id text, document text, book text, at bigint)
ON CONFLICT DO NOTHING
"""
_KEPT = "SELECT document, book, at FROM crewcap.card ORDER BY at, id"

# A refused name: a new one as long as there is room, a known one grows.
_NOTE = """
INSERT INTO crewcap.unpriced AS u (provider, model, requests, last_at, message)
SELECT n.provider, n.model, n.requests, n.last_at, n.message
FROM jsonb_to_recordset($1) AS n (provider text, model text, requests bigint, last_at bigint, message text)
WHERE (SELECT count(*) FROM crewcap.unpriced) < $2
    OR EXISTS (SELECT FROM crewcap.unpriced AS k WHERE (k.provider, k.model) = (n.provider, n.model))
ON CONFLICT (provider, model) DO UPDATE SET
    requests = u.requests + excluded.requests,
    message = CASE WHEN excluded.last_at >= u.last_at THEN excluded.message ELSE u.message END,
    last_at = greatest(u.last_at, excluded.last_at)
"""
_UNPRICED = """
SELECT provider, model, requests, last_at, message FROM crewcap.unpriced
ORDER BY last_at DESC, provider COLLATE "C", model COLLATE "C"
"""


class PostgresPriceNotes:
    """`PriceNotes` in the ledger's database; the ledger was opened first, because it knows the schema."""

    def __init__(self, url: str) -> None:
        self._session = Session(url, lock_s=_WAIT_S)

    def keep(self, cards: Sequence[Kept]) -> None:
        """In one statement."""
        rows = [
            {
                "id": each.card.id,
                "document": as_text(each.card, each.modifiers),
                "book": each.book,
                "at": micros(each.at),
            }
            for each in cards
        ]
        self._write(_KEEP, as_json(rows), again=True)

    def kept(self) -> Mapping[str, Kept]:
        """Every card, by its id."""
        rows = self._session.run(lambda db: db.fetch(_KEPT), again=True)
        return {each.card.id: each for each in map(_kept, rows)}

    def note_unpriced(self, found: Sequence[Unpriced]) -> None:
        """One after the other: a name may stand in it twice."""
        for each in found:
            self._write(_NOTE, as_json([_row(each)]), MOST_UNPRICED, again=False)

    def unpriced(self) -> tuple[Unpriced, ...]:
        """The newest first."""
        return tuple(_unpriced(row) for row in self._session.run(lambda db: db.fetch(_UNPRICED), again=True))

    def close(self) -> None:
        """End the session, if it was begun."""
        self._session.close()

    def _write(self, statement: str, rows: str, *values: int, again: bool) -> None:
        async def write(db: Connection) -> None:
            await db.execute(statement, rows, *values)

        self._session.run(write, again=again)


def _kept(row: Any) -> Kept:
    card, modifiers = from_text(row["document"])
    return Kept(card=card, modifiers=modifiers, book=row["book"], at=instant(row["at"]))


def _unpriced(row: Any) -> Unpriced:
    return Unpriced(
        provider=row["provider"],
        model=row["model"],
        requests=row["requests"],
        last_at=instant(row["last_at"]),
        message=row["message"],
    )


def _row(it: Unpriced) -> dict[str, Any]:
    return {
        "provider": it.provider,
        "model": it.model,
        "requests": it.requests,
        "last_at": micros(it.last_at),
        "message": it.message,
    }
