"""What reports read of a ledger in PostgreSQL: bundles, labels, movements, entries a page at a time.

As in a file, a report of a large ledger first adds up what has come since the last one; requests do not wait for that,
because it takes no lock that they take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from crewcap.core.budget import ALL, HoldId, KeyId, Scope
from crewcap.core.bundles import Bundle
from crewcap.core.makeup import PARTS, Makeup, MakeupRow
from crewcap.core.money import Money
from crewcap.stores import Entry, LabelKind, Movement, postgres_read
from crewcap.stores.clock import instant
from crewcap.stores.postgres_session import Session
from crewcap.stores.postgres_values import as_json
from crewcap.stores.postgres_wire import Connection
from crewcap.stores.reading import ALIKE, BEHIND, PAGE, PIECE, SUMS, Stretch, phases

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
        by_time: bool = False,
        by_key: bool = False,
    ) -> Sequence[Bundle]:
        """Whole quarters from what was added up; edges, and what is newer, from the movements."""
        while self._session.run(self._add_up, again=True):
            pass
        when = Stretch.of(since, until)
        sql = _grouped(by_time=by_time, by_key=by_key)
        wanted = None if scope == ALL else scope

        async def read(db: Connection) -> list[Bundle]:
            async with db.transaction(isolation="repeatable_read"):
                through = int(await db.fetchval(_THROUGH))
                rows = list(await db.fetch(sql.format(_IN_QUARTERS), wanted, when.first, when.last))
                rows += await db.fetch(sql.format(_NEWER), wanted, when.since, when.until, through)
                for start, end in when.edges:
                    rows += await db.fetch(sql.format(_EDGE), wanted, start, end, through)
            return [Bundle._make(row.values()) for row in rows]

        return self._session.run(read, again=True)

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this."""
        if of == "phase":
            keys = self._session.run(lambda db: db.fetch(_KEYS_OF_RUNS), again=True)
            return phases(map(tuple, keys), map(tuple, self._session.run(lambda db: db.fetch(_STATES), again=True)))
        values = () if of in _LABELS else (f"{of}:",)
        rows = self._session.run(lambda db: db.fetch(_LABELS.get(of, _SCOPE_LABELS), *values), again=True)
        return {KeyId(key): label for key, label in rows}

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


def _grouped(*, by_time: bool, by_key: bool) -> str:
    """A statement that adds rows up by what was asked for; its source is to be filled in."""
    asked = [*(["quarter"] if by_time else []), *(["key"] if by_key else []), *ALIKE]
    shown = ["quarter" if by_time else "min(quarter) AS quarter", "key" if by_key else "'' AS key", *ALIKE]
    sums = (f"sum({name})::bigint AS {name}" for name in SUMS)
    return f"SELECT {', '.join((*shown, *sums))} {{}} {_OF_SCOPE} GROUP BY {', '.join(asked)}"


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


_OF_SCOPE = "AND ($1::text IS NULL OR key IN (SELECT k.id FROM crewcap.virtual_key AS k WHERE k.scopes @> ARRAY[$1]))"

# How far the books go, and how far what was added up.
_HOW_FAR = "SELECT (SELECT coalesce(max(id), 0) FROM crewcap.movement), through FROM crewcap.bundled"
_THROUGH = "SELECT through FROM crewcap.bundled"

# Where rows come from: whole quarters that were added up; movements that are newer; the edges of a stretch of time.
_IN_QUARTERS = "FROM crewcap.bundle WHERE quarter >= $2 AND quarter < $3"
_NEWER = "FROM crewcap.told WHERE booked_at >= $2 AND booked_at < $3 AND id > $4"
_EDGE = "FROM crewcap.told WHERE booked_at >= $2 AND booked_at < $3 AND id <= $4"

# Add up one piece; a bundle that is there already grows.
_COLUMNS = ", ".join(("quarter", "key", *ALIKE))
_ADD_UP = f"""
INSERT INTO crewcap.bundle AS b ({_COLUMNS}, {", ".join(SUMS)})
SELECT {_COLUMNS}, {", ".join(f"sum({name})::bigint" for name in SUMS)}
FROM crewcap.told WHERE id > $1 AND id <= $2
GROUP BY {_COLUMNS}
ON CONFLICT ({_COLUMNS}) DO UPDATE SET {", ".join(f"{name} = b.{name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608  (constants of ours)

# Names of keys: by a scope of theirs, by their run, by themselves.
_SCOPE_LABELS = """
SELECT DISTINCT ON (k.id) k.id, substr(s.scope, length($1) + 1)
FROM crewcap.virtual_key AS k CROSS JOIN unnest(k.scopes) WITH ORDINALITY AS s (scope, place)
WHERE starts_with(s.scope, $1) ORDER BY k.id, s.place
"""
_LABELS = {
    "run": """
SELECT k.id, coalesce(r.slug || '.' || r.number, k.run)
FROM crewcap.virtual_key AS k LEFT JOIN crewcap.run AS r ON r.id = k.run WHERE k.run <> ''
""",
    "agent": """
SELECT k.id, r.document::jsonb ->> 'agent' FROM crewcap.virtual_key AS k JOIN crewcap.run AS r ON r.id = k.run
WHERE k.run <> ''
""",
    "key": "SELECT id, CASE WHEN label <> '' THEN label || ' ' || id ELSE id END FROM crewcap.virtual_key",
}

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
