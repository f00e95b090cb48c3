"""What reports read of a ledger in a file: bundles, labels, movements, entries a page at a time.

The file is read through a connection of its own. A report of a large ledger first adds up what has come since the last
one, in pieces that no request has to wait long for; where that cannot be written (a full disk, a file that is
read-only) the report is made from the movements themselves, and is the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from crewcap.core.budget import ALL, HoldId, KeyId, Scope
from crewcap.core.bundles import Bundle
from crewcap.core.makeup import PARTS, Makeup, MakeupRow
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.stores import Entry, LabelKind, Movement, sqlite_read
from crewcap.stores import sqlite_queries as q
from crewcap.stores.clock import instant
from crewcap.stores.reading import ALIKE, BEHIND, PAGE, PIECE, SUMS, Stretch, phases
from crewcap.stores.sqlite_books import translated
from crewcap.stores.sqlite_keys import scopes_of

_WAIT_S = 1.0  # for another writer; what could not be added up now is added up another time


class SqliteReports:
    """`Reports` on the home's ledger file; the ledger was opened first, because it knows the file."""

    def __init__(self, home: Home, *, behind: int = BEHIND, piece: int = PIECE, page: int = PAGE) -> None:
        self._home = home
        self._behind = behind
        self._piece = piece
        self._page = page

    def bundles(
        self,
        *,
        scope: Scope | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        by_time: bool = False,
        by_key: bool = False,
    ) -> Sequence[Bundle]:
        """Whole quarters from what was added up; edges, and what is newer, from the movements."""
        self._catch_up()
        when, sql = Stretch.of(since, until), _Grouped(by_time=by_time, by_key=by_key, scope=scope)
        with self._reading() as db:
            through = int(db.execute(_THROUGH).fetchone()[0])
            rows = sql.read(db, _IN_QUARTERS, {"first": when.first, "last": when.last})
            rows += sql.read(db, _NEWER, {"through": through, "since": when.since, "until": when.until})
            for start, end in when.edges:
                rows += sql.read(db, _EDGE, {"through": through, "since": start, "until": end})
        return rows

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this."""
        with self._reading() as db:
            if of == "phase":
                return phases(db.execute(_KEYS_OF_RUNS), db.execute(_STATES))
            if of in _LABELS:
                return {KeyId(key): str(label) for key, label in db.execute(_LABELS[of])}
            rows = db.execute(_SCOPE_LABELS, {"from": f"{of}:", "to": f"{of};"}).fetchall()
            return {KeyId(key): scope.partition(":")[2] for key, scope in reversed(rows)}  # the first one stays

    def movements(self, scope: Scope) -> Sequence[Movement]:
        """Every step of every hold of a scope."""
        with self._reading() as db:
            return [_movement(row) for row in db.execute(_MOVEMENTS, {"scope": scope})]

    def pages(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Entry]:
        """A page in one transaction each; the file may be written on meanwhile."""
        when = Stretch.of(since, until)
        asked = {"scope": scope or ALL, "since": when.since, "until": when.until, "page": self._page, "after": 0}
        while asked is not None:
            with self._reading() as db:
                rows = db.execute(q.ENTRIES_PAGE, asked).fetchall()
                scopes = {key: scopes_of(db, key) for key in dict.fromkeys(row[2] for row in rows)}
            yield from (sqlite_read.entry(row[1:], scopes) for row in rows)
            if len(rows) < self._page:
                return
            asked["after"] = rows[-1][0]

    def note_makeup(self, rows: Sequence[MakeupRow]) -> None:
        """All of them in one transaction."""
        values = [(row.key, row.quarter, row.model, row.requests, *_parts(row.tokens)) for row in rows]
        with translated(self._home.ledger):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(_ADD_MAKEUP, values)
                self._db.execute("COMMIT")
            except BaseException:
                self._undo()
                raise

    def makeup(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Mapping[str, Makeup]:
        """By model."""
        when = Stretch.of(since, until)
        sql = _MAKEUP.format(where="" if scope in {None, ALL} else "AND virtual_key IN (" + _KEYS_IN + ")")
        asked = {"first": when.first, "last": when.last, "scope": scope}
        with self._reading() as db:
            return {model: Makeup(**dict(zip(PARTS, sums, strict=True))) for model, *sums in db.execute(sql, asked)}

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_db" in self.__dict__:
            self._db.close()

    def _catch_up(self) -> None:
        """Add up what is new, where that is much; a piece at a time, each of which stands by itself."""
        with suppress(sqlite3.OperationalError):
            while self._is_behind() and self._add_up():
                pass

    def _is_behind(self) -> bool:
        newest, through = self._db.execute(_HOW_FAR).fetchone()
        return bool(newest - through > self._behind)

    def _add_up(self) -> bool:
        """One piece; False where there was none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            newest, through = self._db.execute(_HOW_FAR).fetchone()
            to = min(newest, through + self._piece)
            self._db.execute(_ADD_UP, {"after": through, "to": to})
            self._db.execute("UPDATE bundled SET through = :to", {"to": to})
            self._db.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        return bool(to > through)

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with translated(self._home.ledger):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._undo()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._home.ledger, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA temp_store = MEMORY")
        return db


class _Grouped:
    """A statement that adds rows up by what was asked for."""

    def __init__(self, *, by_time: bool, by_key: bool, scope: Scope | None) -> None:
        self._scope = scope
        asked = [*(["quarter"] if by_time else []), *(["key"] if by_key else []), *ALIKE]
        shown = ["quarter" if by_time else "min(quarter)", "key" if by_key else "''", *ALIKE]
        self._head = f"SELECT {', '.join((*shown, *(f'sum({name})' for name in SUMS)))}"
        where = "" if scope in {None, ALL} else f"AND key IN ({_KEYS_IN}) "
        self._tail = f"{where}GROUP BY {', '.join(asked)}"

    def read(self, db: sqlite3.Connection, sql: str, asked: Mapping[str, int]) -> list[Bundle]:
        """Its rows as bundles."""
        rows: Iterable[Any] = db.execute(f"{self._head} {sql} {self._tail}", {**asked, "scope": self._scope})
        return [Bundle._make(row) for row in rows]


def _movement(row: tuple[Any, ...]) -> Movement:
    hold, kind, held, uncertain, spent, notional, at, status, reason = row
    return Movement(
        hold=HoldId(hold),
        kind=kind,
        held=Money(held),
        uncertain=Money(uncertain),
        spent=Money(spent),
        notional=Money(notional),
        at=instant(at),
        status=status,
        reason=reason,
    )


def _parts(tokens: Makeup) -> tuple[int, ...]:
    return tuple(getattr(tokens, name) for name in PARTS)


_KEYS_IN = "SELECT s.key FROM key_scope AS s WHERE s.scope = :scope"

# How far the books go, and how far what was added up.
_HOW_FAR = "SELECT (SELECT coalesce(max(id), 0) FROM movement), through FROM bundled"
_THROUGH = "SELECT through FROM bundled"

# Where rows come from: whole quarters that were added up; movements that are newer; the edges of a stretch of time. A
# plus keeps the planner from walking all movements where it should walk the holds of a time.
_IN_QUARTERS = "FROM bundle WHERE quarter >= :first AND quarter < :last"
_NEWER = "FROM told WHERE id > :through AND booked_at >= :since AND booked_at < :until"
_EDGE = "FROM told WHERE +id <= :through AND booked_at >= :since AND booked_at < :until"

# Add up one piece; a bundle that is there already grows.
_COLUMNS = ", ".join(("quarter", "key", *ALIKE))
_ADD_UP = f"""
INSERT INTO bundle ({_COLUMNS}, {", ".join(SUMS)})
SELECT {_COLUMNS}, {", ".join(f"sum({name})" for name in SUMS)}
FROM told WHERE id > :after AND id <= :to
GROUP BY {_COLUMNS}
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608  (constants of ours)

# Names of keys: by a scope of theirs, by their run, by themselves.
_SCOPE_LABELS = "SELECT key, scope FROM key_scope WHERE scope >= :from AND scope < :to ORDER BY key, place"
_LABELS = {
    "run": """
SELECT k.id, coalesce(r.slug || '.' || r.number, k.run)
FROM virtual_key AS k LEFT JOIN run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "agent": """
SELECT k.id, json_extract(r.document, '$.agent') FROM virtual_key AS k JOIN run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "key": "SELECT id, CASE WHEN label <> '' THEN label || ' ' || id ELSE id END FROM virtual_key",
}

# Why agents were started: their keys, and the states of those runs that have several.
_KEYS_OF_RUNS = "SELECT id, run, created_at FROM virtual_key WHERE run <> ''"
_STATES = """
SELECT e.run, e.at, e.text FROM run_event AS e
WHERE e.kind = 'state' AND e.run IN (SELECT run FROM virtual_key WHERE run <> '' GROUP BY run HAVING count(*) > 1)
ORDER BY e.run, e.seq
"""

# A scope's holds, step by step.
_MOVEMENTS = """
SELECT h.id, m.kind, m.held_delta, m.uncertain_delta, m.spent_delta, m.notional_delta, m.at, m.status, m.reason
FROM key_scope AS s
CROSS JOIN hold AS h ON h.key = s.key
CROSS JOIN movement AS m ON m.hold = h.seq
WHERE s.scope = :scope ORDER BY h.seq, m.id
"""

# What prompts were made of.
_ADD_MAKEUP = f"""
INSERT INTO makeup (virtual_key, quarter, model, requests, {", ".join(PARTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in ("requests", *PARTS))}
"""  # noqa: S608  (constants of ours)
_MAKEUP = f"""
SELECT model, {", ".join(f"sum({name})" for name in PARTS)} FROM makeup
WHERE quarter >= :first AND quarter < :last {{where}} GROUP BY model
"""  # noqa: S608  (constants of ours)
