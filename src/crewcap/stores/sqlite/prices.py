"""What is remembered of prices, in the same file as the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from crewcap.core.cards import Kept, Unpriced, as_text, from_text
from crewcap.home import Home
from crewcap.stores.clock import instant, micros
from crewcap.stores.price_notes import MOST_UNPRICED
from crewcap.stores.sqlite.books import translated

_WAIT_S = 1.0  # for another writer; this does not hold up the ledger's thread for longer

# A card, once.
_KEEP = "INSERT INTO card (id, document, book, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_KEPT = "SELECT document, book, at FROM card ORDER BY at, id"

# A refused name: a new one as long as there is room, a known one grows.
_NOTE = """
INSERT INTO unpriced (provider, model, requests, last_at, message)
SELECT :provider, :model, :requests, :last_at, :message
WHERE (SELECT count(*) FROM unpriced) < :most
    OR EXISTS (SELECT 1 FROM unpriced WHERE provider = :provider AND model = :model)
ON CONFLICT (provider, model) DO UPDATE SET
    requests = requests + excluded.requests,
    message = CASE WHEN excluded.last_at >= last_at THEN excluded.message ELSE message END,
    last_at = max(last_at, excluded.last_at)
"""
_UNPRICED = "SELECT provider, model, requests, last_at, message FROM unpriced ORDER BY last_at DESC, provider, model"


class SqlitePriceNotes:
    """`PriceNotes` on the home's ledger file; the ledger has made the tables."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def keep(self, cards: Sequence[Kept]) -> None:
        """All of them in one transaction."""
        rows = [(each.card.id, as_text(each.card, each.modifiers), each.book, micros(each.at)) for each in cards]
        self._write(_KEEP, rows)

    def kept(self) -> Mapping[str, Kept]:
        """Every card, by its id."""
        return {each.card.id: each for each in map(_kept, self._read(_KEPT))}

    def note_unpriced(self, found: Sequence[Unpriced]) -> None:
        """All of them in one transaction."""
        self._write(_NOTE, [_row(each) for each in found])

    def unpriced(self) -> tuple[Unpriced, ...]:
        """The newest first."""
        return tuple(
            Unpriced(provider=provider, model=model, requests=requests, last_at=instant(last_at), message=message)
            for provider, model, requests, last_at, message in self._read(_UNPRICED)
        )

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_db" in self.__dict__:
            self._db.close()

    def _write(self, statement: str, rows: Iterable[Any]) -> None:
        with translated(self._home.ledger), self._db:
            self._db.executemany(statement, rows)

    def _read(self, statement: str) -> list[tuple[Any, ...]]:
        with translated(self._home.ledger):
            return self._db.execute(statement).fetchall()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._home.ledger, timeout=_WAIT_S, check_same_thread=False)
        db.execute("PRAGMA synchronous = NORMAL")
        return db


def _kept(row: tuple[Any, ...]) -> Kept:
    document, book, at = row
    card, modifiers = from_text(document)
    return Kept(card=card, modifiers=modifiers, book=book, at=instant(at))


def _row(it: Unpriced) -> dict[str, Any]:
    return {
        "provider": it.provider,
        "model": it.model,
        "requests": it.requests,
        "last_at": micros(it.last_at),
        "message": it.message,
        "most": MOST_UNPRICED,
    }
