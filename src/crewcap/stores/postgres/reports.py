"""What reports read of a ledger in PostgreSQL: bundles, labels, movements, entries a page at a time.

As in a file, a report of a large ledger first adds up what has come since the last one; requests do not wait for that,
because it takes no lock that they take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from crewcap.core.budget import ALL, HoldId, KeyId, Scope
from crewcap.core.bundles import Bundle
from crewcap.core.habits import Use
from crewcap.core.history import Outlay
from crewcap.core.makeup import PARTS, Makeup, MakeupRow
from crewcap.core.money import Money
from crewcap.stores import OTHERS, Entry, LabelKind, Movement
from crewcap.stores.clock import instant
from crewcap.stores.postgres import read as postgres_read
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.values import as_json
from crewcap.stores.postgres.wire import Connection, only_row
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

_WAIT_S = 5.0


class PostgresReports:
    """`Reports` in the ledger's database; the ledger was opened first, because it knows the schema."""

    def __init__(self, url: str, *, behind: int = BEHIND, piece: int = PIECE, page: int = PAGE) -> None:
        self._session = Session(url, lock_s=_WAIT_S)
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
        while self._session.run(self._add_up, again=True):
            pass
        names = _NAMES[by] if by else ""

        async def read(db: Connection) -> list[Bundle]:
            async with db.transaction(isolation="repeatable_read"):
                sources = _Sources(db, Stretch.of(since, until), None if scope == ALL else scope)
                tops = dearest(await sources.rows(_NAMED_SUMS, names, "GROUP BY name"), top) if by and top else None
                when, is_timed = "b.quarter", by_quarter
                if days_in is not None:
                    when, is_timed = day_number("b.quarter", days_in, **await sources.bounds()), True
                name = _named(by_key=by_key, is_named=by is not None, is_cut=tops is not None)
                alike = _ALIKE if in_detail else _ALIKE[:BRIEF]
                groups = [*([when] if is_timed else []), *([name] if name != "''" else []), *alike]
                sums = (f"sum(b.{each})::bigint AS {each}" for each in SUMS)
                told = (*alike, *_UNTOLD[len(alike) :], *sums)
                head = f"SELECT min(b.quarter) AS quarter, {name} AS key, {', '.join(told)}"
                rows = await sources.rows(head, names, f"GROUP BY {', '.join(groups)}", tops=tops)
            return [Bundle._make(row.values()) for row in rows]

        return self._session.run(read, again=True)

    def uses(self, *, since: datetime | None = None, until: datetime | None = None) -> Sequence[Use]:
        """Sorted here: rows come from what was added up and from what is newer."""
        while self._session.run(self._add_up, again=True):
            pass

        async def read(db: Connection) -> list[Use]:
            async with db.transaction(isolation="repeatable_read"):
                rows = await _Sources(db, Stretch.of(since, until), None).rows(_USED, "", _USES)
            return sorted(map(tuple, rows))

        return self._session.run(read, again=True)

    def outlays(self, *, scope: Scope | None = None, since: datetime | None = None) -> Sequence[Outlay]:
        """Sums of what was added up, and each key's first request."""
        while self._session.run(self._add_up, again=True):
            pass
        when, wanted = Stretch.of(since, None), None if scope == ALL else scope

        async def read(db: Connection) -> list[Outlay]:
            async with db.transaction(isolation="repeatable_read"):
                begun = {key: (run, instant(at)) for key, run, at in await db.fetch(_BEGUN, wanted, when.since)}
                rows = await _Sources(db, when, wanted).rows(_PAID, "", "GROUP BY b.key, b.model")
            return [Outlay(begun[key][0], key, model, begun[key][1], *sums) for key, model, *sums in rows]

        return self._session.run(read, again=True)

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this."""
        if of == "phase":
            keys = self._session.run(lambda db: db.fetch(_KEYS_OF_RUNS), again=True)
            return phases(map(tuple, keys), map(tuple, self._session.run(lambda db: db.fetch(_STATES), again=True)))
        rows = self._session.run(lambda db: db.fetch(_NAMES_SQL[of]), again=True)
        return {KeyId(row["named"]): row["name"] for row in rows}

    def movements(self, scope: Scope) -> Sequence[Movement]:
        """Every step of every hold of a scope."""
        rows = self._session.run(lambda db: db.fetch(_MOVEMENTS, scope), again=True)
        return [_movement(row) for row in rows]

    def pages(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Entry]:
        """A page in one statement each."""
        when, after = Stretch.of(since, until), 0
        read = partial(postgres_read.page, since=when.since, until=when.until, scope=scope, rows=self._page)
        while True:
            page = self._session.run(partial(read, after=after), again=True)
            yield from (entry for _, entry in page)
            if len(page) < self._page:
                return
            after = page[-1][0]

    def note_makeup(self, rows: Sequence[MakeupRow]) -> None:
        """All of them in one statement, which is not tried twice."""
        if rows:
            said = as_json([_makeup_row(row) for row in rows])
            self._session.run(lambda db: db.execute(_ADD_MAKEUP, said), again=False)

    def makeup(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Mapping[str, Makeup]:
        """By model."""
        when, wanted = Stretch.of(since, until), None if scope == ALL else scope
        rows = self._session.run(lambda db: db.fetch(_MAKEUP, wanted, when.first, when.last), again=True)
        return {row["model"]: Makeup(**{name: row[name] for name in PARTS}) for row in rows}

    def close(self) -> None:
        """End the session, if it was begun."""
        self._session.close()

    async def _add_up(self, db: Connection) -> bool:
        """One piece of what is new, where that is much; False where nothing more need be added up."""
        newest, through = await db.fetchrow(_HOW_FAR)
        if newest - through <= self._behind:
            return False
        async with db.transaction():
            await db.execute("SET LOCAL synchronous_commit = off")
            through = await db.fetchval(f"{_THROUGH} FOR UPDATE")
            to = min(newest, through + self._piece)
            await db.execute(_ADD_UP, through, to)
            await db.execute("UPDATE crewcap.bundled SET through = greatest(through, $1)", to)
        return True


class _Sources:
    """Where the rows of a report come from, in one consistent view."""

    def __init__(self, db: Connection, when: Stretch, scope: Scope | None) -> None:
        self._db = db
        self._when = when
        self._scope = scope

    async def rows(self, head: str, names: str, tail: str, *, tops: Sequence[str] | None = None) -> list[Any]:
        """The rows of all of them; a group may come from each."""
        when, through = self._when, int(await self._db.fetchval(_THROUGH))
        sources = [
            (_IN_QUARTERS, (when.first, when.last)),
            (_NEWER, (when.since, when.until, through)),
            *((_EDGE, (start, end, through)) for start, end in when.edges),
        ]
        found: list[Any] = []
        for source, values in sources:
            sql = f"{head} {source.format(names=names)} {_OF_SCOPE} {tail}".replace("$TOPS", f"${len(values) + 2}")
            found += await self._db.fetch(sql, self._scope, *values, *([] if tops is None else [list(tops)]))
        return found

    async def bounds(self) -> dict[str, int]:
        """The first and the last quarter that there is anything in."""
        first, last = await only_row(self._db, _BOUNDS)
        return {"first": first // QUARTER_US, "last": last // QUARTER_US}


def _named(*, by_key: bool, is_named: bool, is_cut: bool) -> str:
    """What stands in the place of a bundle's key."""
    if not is_named:
        return "b.key" if by_key else "''"
    name = "coalesce(n.name, '')"
    return f"CASE WHEN {name} = ANY ($TOPS::text[]) THEN {name} ELSE '{OTHERS}' END" if is_cut else name


def _movement(row: Any) -> Movement:
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


def _makeup_row(row: MakeupRow) -> dict[str, Any]:
    parts = {name: getattr(row.tokens, name) for name in PARTS}
    return {"virtual_key": row.key, "quarter": row.quarter, "model": row.model, "requests": row.requests, **parts}


_OF_SCOPE = "AND ($1::text IS NULL OR b.key IN (SELECT k.id FROM crewcap.virtual_key AS k WHERE k.scopes @> ARRAY[$1]))"

# How far the books go, and how far what was added up.
_HOW_FAR = "SELECT (SELECT coalesce(max(id), 0) FROM crewcap.movement), through FROM crewcap.bundled"
_THROUGH = "SELECT through FROM crewcap.bundled"

# Where rows come from: whole quarters that were added up; movements that are newer; the edges of a stretch of time.
_IN_QUARTERS = "FROM crewcap.bundle AS b {names} WHERE b.quarter >= $2 AND b.quarter < $3"
_NEWER = "FROM crewcap.told AS b {names} WHERE b.booked_at >= $2 AND b.booked_at < $3 AND b.id > $4"
_EDGE = "FROM crewcap.told AS b {names} WHERE b.booked_at >= $2 AND b.booked_at < $3 AND b.id <= $4"
_ALIKE = tuple(f"b.{name}" for name in ALIKE)
_UNTOLD = tuple(
    f"{untold} AS {name}"
    for name, untold in zip(ALIKE, ("''", "''", "''", "''", "0", "false", "false", "'{}'"), strict=True)
)  # in their places, where they were not asked for
_USED = "SELECT b.quarter, b.key, b.model"
_USES = "AND b.requests > 0 GROUP BY b.quarter, b.key, b.model"
_BOUNDS = "SELECT coalesce(min(booked_at), 0) AS first, coalesce(max(booked_at), 0) AS last FROM crewcap.hold"
_NAMED_SUMS = "SELECT coalesce(n.name, '') AS name, sum(b.spent + b.uncertain + b.notional)::bigint AS nano"

# Add up one piece; a bundle that is there already grows.
_COLUMNS = ", ".join(("quarter", "key", *ALIKE))
_ADD_UP = f"""
INSERT INTO crewcap.bundle AS b ({_COLUMNS}, {", ".join(SUMS)})
SELECT {_COLUMNS}, {", ".join(f"sum({name})::bigint" for name in SUMS)}
FROM crewcap.told WHERE id > $1 AND id <= $2
GROUP BY {_COLUMNS}
ON CONFLICT ({_COLUMNS}) DO UPDATE SET {", ".join(f"{name} = b.{name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608  (constants of ours)

# What keys had from models, and when each began.
_PAID = "SELECT b.key, b.model, sum(b.requests)::bigint, sum(b.spent + b.uncertain)::bigint"
_BEGUN = """
SELECT k.id, k.run, min(h.booked_at)
FROM crewcap.virtual_key AS k
JOIN crewcap.hold AS h ON h.key = k.id AND h.booked_at >= $2
JOIN crewcap.movement AS m ON m.hold = h.seq AND m.kind IN ('settled', 'released', 'uncertain')
WHERE $1::text IS NULL OR k.scopes @> ARRAY[$1]
GROUP BY k.id, k.run
"""

# Names of keys: by the first scope of a kind, by their run, by themselves.
_SCOPE_NAMES = """
SELECT DISTINCT ON (k.id) k.id AS named, substr(s.scope, length('{0}:') + 1) AS name
FROM crewcap.virtual_key AS k CROSS JOIN unnest(k.scopes) WITH ORDINALITY AS s (scope, place)
WHERE starts_with(s.scope, '{0}:') ORDER BY k.id, s.place
"""
_NAMES_SQL: dict[LabelKind, str] = {
    "issue": _SCOPE_NAMES.format("issue"),
    "repo": _SCOPE_NAMES.format("repo"),
    "team": _SCOPE_NAMES.format("team"),
    "user": _SCOPE_NAMES.format("user"),
    "workflow": _SCOPE_NAMES.format("workflow"),
    "run": """
SELECT k.id AS named, coalesce(r.slug || '.' || r.number, k.run) AS name
FROM crewcap.virtual_key AS k LEFT JOIN crewcap.run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "agent": """
SELECT k.id AS named, r.document::jsonb ->> 'agent' AS name
FROM crewcap.virtual_key AS k JOIN crewcap.run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "key": """
SELECT id AS named, CASE WHEN label <> '' THEN label || ' ' || id ELSE id END AS name FROM crewcap.virtual_key
""",
}
_NAMES = {kind: f"LEFT JOIN ({sql}) AS n ON n.named = b.key" for kind, sql in _NAMES_SQL.items()}

# Why agents were started: their keys, and the states of those runs that have several.
_KEYS_OF_RUNS = "SELECT id, run, created_at FROM crewcap.virtual_key WHERE run <> ''"
_STATES = """
SELECT e.run, e.at, e.text FROM crewcap.run_event AS e
WHERE e.kind = 'state'
    AND e.run IN (SELECT run FROM crewcap.virtual_key WHERE run <> '' GROUP BY run HAVING count(*) > 1)
ORDER BY e.run, e.seq
"""

# A scope's holds, step by step.
_MOVEMENTS = """
SELECT h.id, m.kind, m.held_delta, m.uncertain_delta, m.spent_delta, m.notional_delta, m.at, m.status, m.reason
FROM crewcap.virtual_key AS k
JOIN crewcap.hold AS h ON h.key = k.id
JOIN crewcap.movement AS m ON m.hold = h.seq
WHERE k.scopes @> ARRAY[$1::text] ORDER BY h.seq, m.id
"""

# What prompts were made of.
_ADD_MAKEUP = f"""
INSERT INTO crewcap.makeup AS m (virtual_key, quarter, model, requests, {", ".join(PARTS)})
SELECT virtual_key, quarter, model, sum(requests), {", ".join(f"sum({name})" for name in PARTS)}
FROM jsonb_to_recordset($1) AS t (
    virtual_key text, quarter bigint, model text, requests bigint, {", ".join(f"{name} bigint" for name in PARTS)}
)
GROUP BY virtual_key, quarter, model
ON CONFLICT (virtual_key, quarter, model) DO UPDATE
    SET {", ".join(f"{name} = m.{name} + excluded.{name}" for name in ("requests", *PARTS))}
"""  # noqa: S608  (constants of ours)
_MAKEUP = f"""
SELECT model, {", ".join(f"sum({name})::bigint AS {name}" for name in PARTS)} FROM crewcap.makeup
WHERE quarter >= $2 AND quarter < $3
    AND ($1::text IS NULL OR virtual_key IN (SELECT k.id FROM crewcap.virtual_key AS k WHERE k.scopes @> ARRAY[$1]))
GROUP BY model
"""  # noqa: S608  (constants of ours)
