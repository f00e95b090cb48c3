"""What reports read of a ledger in a file: bundles, labels, movements, entries a page at a time.

The file is read through a connection of its own. A report of a large ledger first adds up what has come since the last
one, in pieces that no request has to wait long for; where that cannot be written (a full disk, a file that is
read-only) the report is made from the movements themselves, and is the same.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any

from crewcap.core.budget import ALL, HoldId, KeyId, Scope
from crewcap.core.bundles import Bundle
from crewcap.core.habits import Use
from crewcap.core.history import Outlay
from crewcap.core.makeup import PARTS, Makeup, MakeupRow
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.stores import OTHERS, Entry, LabelKind, Movement
from crewcap.stores.clock import instant
from crewcap.stores.reading import (
    ALIKE,
    BEHIND,
    BRIEF,
    PAGE,
    PIECE,
    QUARTER_US,
    SUMS,
    Stretch,
    day_number,
    dearest,
    phases,
)
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite import read
from crewcap.stores.sqlite.books import translated
from crewcap.stores.sqlite.keys import scopes_of

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
        by_quarter: bool = False,
        days_in: tzinfo | None = None,
        by_key: bool = False,
        by: LabelKind | None = None,
        top: int | None = None,
        in_detail: bool = True,
    ) -> Sequence[Bundle]:
        """Whole quarters from what was added up; edges, and what is newer, from the movements."""
        self._catch_up()
        with self._reading() as db:
            sources = _Sources(db, Stretch.of(since, until), scope)
            names = _NAMES[by] if by else ""
            tops = dearest(sources.rows(_NAMED_SUMS, names, "GROUP BY name"), top) if by and top else None
            when, is_timed = "b.quarter", by_quarter
            if days_in is not None:
                when, is_timed = day_number("b.quarter", days_in, **sources.bounds()), True
            name = _named(by_key=by_key, is_named=by is not None, is_cut=tops is not None)
            alike = _ALIKE if in_detail else _ALIKE[:BRIEF]
            groups = [*([when] if is_timed else []), *([name] if name != "''" else []), *alike]
            sums = (f"sum(b.{each})" for each in SUMS)
            told = (*alike, *_UNTOLD[len(alike) :], *sums)
            head = f"SELECT min(b.quarter), {name}, {', '.join(told)}"
            rows = sources.rows(head, names, f"GROUP BY {', '.join(groups)}", tops=tops or ())
            return [Bundle._make(row) for row in rows]

    def uses(self, *, since: datetime | None = None, until: datetime | None = None) -> Sequence[Use]:
        """In the order of the table's own key, so that nothing is sorted but what is newer."""
        self._catch_up()
        with self._reading() as db:
            rows = _Sources(db, Stretch.of(since, until), None).rows(_USED, "", _USES)
        return sorted(rows)

    def outlays(self, *, scope: Scope | None = None, since: datetime | None = None) -> Sequence[Outlay]:
        """Sums of what was added up, and one look at the holds of each key for its first one."""
        self._catch_up()
        when = Stretch.of(since, None)
        with self._reading() as db:
            sources = _Sources(db, when, scope)
            begun = {key: (run, at) for key, run, at in sources.begun(when.since) if at is not None}
            rows = sources.rows(_PAID, "", "GROUP BY b.key, b.model")
        return [Outlay(begun[key][0], key, model, instant(begun[key][1]), *sums) for key, model, *sums in rows]

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this."""
        with self._reading() as db:
            if of == "phase":
                return phases(db.execute(_KEYS_OF_RUNS), db.execute(_STATES))
            return {KeyId(row[0]): str(row[1]) for row in db.execute(_NAMES_SQL[of])}

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
            yield from (read.entry(row[1:], scopes) for row in rows)
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


class _Sources:
    """Where the rows of a report come from, in one consistent view."""

    def __init__(self, db: sqlite3.Connection, when: Stretch, scope: Scope | None) -> None:
        self._db = db
        through = int(db.execute(_THROUGH).fetchone()[0])
        self._sources = [
            (_IN_QUARTERS, {"first": when.first, "last": when.last}),
            (_NEWER, {"through": through, "since": when.since, "until": when.until}),
            *((_EDGE, {"through": through, "since": start, "until": end}) for start, end in when.edges),
        ]
        self._scope = scope
        self._where = "" if scope in {None, ALL} else f"AND b.key IN ({_KEYS_IN}) "

    def rows(self, head: str, names: str, tail: str, *, tops: Sequence[str] = ()) -> list[Any]:
        """The rows of all of them; a group may come from each."""
        asked = {"scope": self._scope, "tops": json.dumps(tops), "others": OTHERS}
        found: list[Any] = []
        for source, values in self._sources:
            sql = f"{head} {source.format(names=names)} {self._where}{tail}"
            found += self._db.execute(sql, {**asked, **values}).fetchall()
        return found

    def begun(self, since: int) -> list[tuple[KeyId, str, int | None]]:
        """Each key with its run, and when its first closed request was booked, if it has one."""
        where = self._where.replace("b.key", "k.id").replace("AND", "WHERE", 1)
        return self._db.execute(_BEGUN + where, {"scope": self._scope, "since": since}).fetchall()

    def bounds(self) -> dict[str, int]:
        """The first and the last quarter that there is anything in."""
        first, last = self._db.execute(_BOUNDS).fetchone()
        return {"first": first // QUARTER_US, "last": last // QUARTER_US}


def _named(*, by_key: bool, is_named: bool, is_cut: bool) -> str:
    """What stands in the place of a bundle's key."""
    if not is_named:
        return "b.key" if by_key else "''"
    name = "coalesce(n.name, '')"
    if not is_cut:
        return name
    return f"CASE WHEN {name} IN (SELECT value FROM json_each(:tops)) THEN {name} ELSE :others END"  # noqa: S608  (constants of ours)


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
_IN_QUARTERS = "FROM bundle AS b {names} WHERE b.quarter >= :first AND b.quarter < :last"
_NEWER = "FROM told AS b {names} WHERE b.id > :through AND +b.booked_at >= :since AND +b.booked_at < :until"
_EDGE = "FROM told AS b {names} WHERE +b.id <= :through AND b.booked_at >= :since AND b.booked_at < :until"
_ALIKE = tuple(f"b.{name}" for name in ALIKE)
_UNTOLD = ("''", "''", "''", "''", "0", "0", "0", "'{}'")  # in their places, where they were not asked for
_USED = "SELECT b.quarter, b.key, b.model"
_USES = "AND b.requests > 0 GROUP BY b.quarter, b.key, b.provider, b.model"
_BOUNDS = "SELECT coalesce((SELECT min(booked_at) FROM hold), 0), coalesce((SELECT max(booked_at) FROM hold), 0)"
_NAMED_SUMS = "SELECT coalesce(n.name, '') AS name, sum(b.spent + b.uncertain + b.notional)"

# Add up one piece; a bundle that is there already grows.
_COLUMNS = ", ".join(("quarter", "key", *ALIKE))
_ADD_UP = f"""
INSERT INTO bundle ({_COLUMNS}, {", ".join(SUMS)})
SELECT {_COLUMNS}, {", ".join(f"sum({name})" for name in SUMS)}
FROM told WHERE id > :after AND id <= :to
GROUP BY {_COLUMNS}
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608  (constants of ours)

# What keys had from models, and when each began: holds are numbered as time goes by, so the first one is the earliest.
_PAID = "SELECT b.key, b.model, sum(b.requests), sum(b.spent + b.uncertain)"
_BEGUN = """
SELECT k.id, k.run, (
    SELECT h.booked_at FROM hold AS h
    WHERE h.key = k.id AND +h.booked_at >= :since AND EXISTS (
        SELECT 1 FROM movement AS m WHERE m.hold = h.seq AND m.kind IN ('settled', 'released', 'uncertain')
    )
    ORDER BY h.seq LIMIT 1
)
FROM virtual_key AS k
"""

# Names of keys: by the first scope of a kind, by their run, by themselves.
_SCOPE_NAMES = """
SELECT key AS named, substr(scope, length('{0}:') + 1) AS name, min(place) FROM key_scope
WHERE scope >= '{0}:' AND scope < '{0};' GROUP BY key
"""
_NAMES_SQL: dict[LabelKind, str] = {
    "issue": _SCOPE_NAMES.format("issue"),
    "repo": _SCOPE_NAMES.format("repo"),
    "team": _SCOPE_NAMES.format("team"),
    "user": _SCOPE_NAMES.format("user"),
    "workflow": _SCOPE_NAMES.format("workflow"),
    "run": """
SELECT k.id AS named, coalesce(r.slug || '.' || r.number, k.run) AS name
FROM virtual_key AS k LEFT JOIN run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "agent": """
SELECT k.id AS named, json_extract(r.document, '$.agent') AS name
FROM virtual_key AS k JOIN run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "key": "SELECT id AS named, CASE WHEN label <> '' THEN label || ' ' || id ELSE id END AS name FROM virtual_key",
}
_NAMES = {kind: f"LEFT JOIN ({sql}) AS n ON n.named = b.key" for kind, sql in _NAMES_SQL.items()}

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
