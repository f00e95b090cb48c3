"""What is said to runs, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from crewcap.core.runs import RunId, Word, WordKind
from crewcap.stores.clock import instant
from crewcap.stores.run_rows import as_said, one_line

_SAY = "INSERT INTO word (run, at, kind, text, by) VALUES (?, ?, ?, ?, ?)"
_UNHEARD = "SELECT seq, at, kind, text, by FROM word WHERE run = ? AND is_heard = 0 ORDER BY seq"
_HEARD = "UPDATE word SET is_heard = 1 WHERE run = ? AND seq <= ? AND is_heard = 0"


def say(db: sqlite3.Connection, run: RunId, kind: WordKind, text: str, *, by: str, at: int) -> int:
    """Leave a word; its number."""
    return db.execute(_SAY, (run, at, kind, as_said(text), one_line(by))).lastrowid or 0


def unheard(db: sqlite3.Connection, run: RunId) -> Sequence[Word]:
    """Words that nobody has acted on, oldest first."""
    return [
        Word(seq=seq, at=instant(at), kind=kind, text=text, by=by)
        for seq, at, kind, text, by in db.execute(_UNHEARD, (run,))
    ]


def heard(db: sqlite3.Connection, run: RunId, upto: int) -> None:
    """These were acted on."""
    db.execute(_HEARD, (run, upto))
