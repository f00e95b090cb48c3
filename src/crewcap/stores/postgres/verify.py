"""`crewcap ledger verify` in PostgreSQL: everything that is derived, computed again from what was booked.

The movements are the truth. Budgets, tallies, buckets, open holds and limits in force are recomputed from them and from
what was said, at one instant; the order of the books and the schema (a fence that somebody dropped is no fence) are
checked as well. Whether the server's files are whole is the server's affair: `pg_amcheck`, and data checksums.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from crewcap.core.budget import Window
from crewcap.core.bundles import at
from crewcap.core.money import Money
from crewcap.stores import Verified
from crewcap.stores.calendar import Stretch, span_named
from crewcap.stores.postgres.schema import wrong_schema
from crewcap.stores.postgres.wire import Connection, only_row

_PARTS = 60_000_000

# How many requests are closed.
_COUNT_ENTRIES = "SELECT count(*) FROM crewcap.movement WHERE kind IN ('settled', 'released', 'uncertain')"

# Movements are numbered without a gap and time never falls.
_GAPS = "SELECT count(*) AS count, coalesce(max(id), 0) AS newest FROM crewcap.movement"
_TIME_FELL = """
SELECT m.id FROM (SELECT id, at, lag(at) OVER (ORDER BY id) AS before FROM crewcap.movement) AS m
WHERE m.at < m.before LIMIT 1
"""

# Each hold as its movements tell it, where that is not what `open_hold` says, or breaks the law of one hold.
_WRONG_HOLDS = """
WITH told AS (
    SELECT h.seq, h.id, h.boot, h.amount, sum(m.held_delta) FILTER (WHERE m.kind = 'sent') AS opened,
        sum(m.held_delta) AS held, sum(m.uncertain_delta) AS uncertain, sum(m.spent_delta) AS spent,
        count(*) FILTER (WHERE m.kind = 'sent') AS sent, bool_or(m.kind = 'shrunk') AS shrunk,
        count(*) FILTER (WHERE m.kind IN ('settled', 'released', 'uncertain')) AS closed
    FROM crewcap.hold AS h LEFT JOIN crewcap.movement AS m ON m.hold = h.seq
    GROUP BY h.seq
)
SELECT t.id FROM told AS t LEFT JOIN crewcap.open_hold AS o ON o.hold = t.seq
WHERE t.sent <> 1 OR t.opened IS DISTINCT FROM t.amount OR t.closed > 1
    OR t.held < 0 OR t.uncertain < 0 OR t.spent < 0 OR (t.closed = 1 AND t.held <> 0)
    OR CASE WHEN t.closed = 1 AND t.uncertain = 0 THEN o.hold IS NOT NULL
        ELSE (o.held, o.uncertain, o.shrunk, o.closed, o.boot)
            IS DISTINCT FROM (t.held::bigint, t.uncertain::bigint, t.shrunk, t.closed = 1, t.boot)
    END
ORDER BY t.seq
"""

# Holds that nobody can close any more: their gateway has ended, and the end of a gateway closes what it held.
_FORGOTTEN_HOLDS = """
SELECT h.id FROM crewcap.open_hold AS o
JOIN crewcap.hold AS h ON h.seq = o.hold
JOIN crewcap.boot AS b ON b.id = o.boot
WHERE NOT o.closed AND b.ended_at IS NOT NULL
ORDER BY o.hold
"""

# Rows that name something that is not there.
_STRAYS = """
SELECT format('open hold %s belongs to no hold', o.hold) FROM crewcap.open_hold AS o
WHERE NOT EXISTS (SELECT FROM crewcap.hold AS h WHERE h.seq = o.hold)
UNION ALL
SELECT format('movement %s belongs to no hold', m.id) FROM crewcap.movement AS m
WHERE NOT EXISTS (SELECT FROM crewcap.hold AS h WHERE h.seq = m.hold)
UNION ALL
SELECT format('hold %s belongs to no key or to no gateway', h.id) FROM crewcap.hold AS h
WHERE NOT EXISTS (SELECT FROM crewcap.virtual_key AS k WHERE k.id = h.key)
    OR NOT EXISTS (SELECT FROM crewcap.boot AS b WHERE b.id = h.boot)
"""

# Limits in force that are not the ones that were said, of money and beside it.
_WRONG_LIMITS = """
SELECT CASE
    WHEN s.scope IS NULL AND NOT EXISTS (
        SELECT FROM crewcap.limit_change AS c WHERE (c.scope, c."window") = (l.scope, l."window")
    ) THEN format('nobody set the limit on %s (%s)', l.scope, l."window")
    ELSE format(
        'the limit in force on %s (%s) is not the one that was said',
        coalesce(s.scope, l.scope), coalesce(s."window", l."window")
    ) END
FROM crewcap.limit_said AS s
FULL JOIN crewcap.limit_in_force AS l ON (l.scope, l."window") = (s.scope, s."window")
WHERE (s.limit_nano, s.source) IS DISTINCT FROM (l.limit_nano, l.source)
UNION ALL
SELECT CASE
    WHEN s.scope IS NULL AND NOT EXISTS (
        SELECT FROM crewcap.beside_change AS c WHERE (c.scope, c.kind, c."window") = (l.scope, l.kind, l."window")
    ) THEN format('nobody set the limit on %s (%s)', l.scope, concat_ws('/', l.kind, nullif(l."window", '')))
    ELSE format(
        'the limit in force on %s (%s) is not the one that was said', coalesce(s.scope, l.scope),
        concat_ws('/', coalesce(s.kind, l.kind), nullif(coalesce(s."window", l."window"), ''))
    ) END
FROM crewcap.beside_said AS s
FULL JOIN crewcap.beside_in_force AS l ON (l.scope, l.kind, l."window") = (s.scope, s.kind, s."window")
WHERE (s.value, s.source) IS DISTINCT FROM (l.value, l.source)
"""

# Every budget row with what the movements say of its window.
_BUDGETS = """
SELECT b.scope, b."window", b.label, b.starts_at, b.ends_at, b.spent, b.uncertain, b.held, s.spent AS told_spent,
    s.uncertain AS told_uncertain, s.held AS told_held
FROM crewcap.budget AS b
CROSS JOIN LATERAL crewcap.sums(b.scope, b."window", b.starts_at, b.ends_at) AS s
ORDER BY b.id
"""

# Rows of windows that are not over at the newest entry's time, whose limit is not the one in force.
_UNENFORCED = """
SELECT format('%s (%s): the row does not carry the limit in force on its %s', b.scope, b.label, b."window")
FROM crewcap.budget AS b
LEFT JOIN crewcap.limit_in_force AS l ON l.scope = b.scope AND l."window" = b."window"
WHERE l.scope IS NULL OR (b.limit_nano <> l.limit_nano AND b.ends_at > greatest(
    (SELECT max(m.at) FROM crewcap.movement AS m), (SELECT max(c.at) FROM crewcap.limit_change AS c)
))
ORDER BY b.id
"""

# Every row of a count with what holds and movements say of it.
_TALLIES = """
SELECT t.scope, t.kind, t."window", t.label, t.starts_at, t.ends_at, t.used, l.scope IS NOT NULL AS is_in_force,
    CASE t.kind WHEN 'tokens' THEN crewcap.tokens_in(t.scope, t."window", t.starts_at, t.ends_at) ELSE 0 END AS told
FROM crewcap.tally AS t
LEFT JOIN crewcap.beside_in_force AS l ON (l.scope, l.kind, l."window") = (t.scope, t.kind, t."window")
ORDER BY t.id
"""

# Every bucket, and every rate that should have one, with what the scope's movements took since it was made.
_BUCKETS = """
SELECT coalesce(b.scope, l.scope) AS scope, coalesce(b.kind, l.kind) AS kind, b.value, b.level, b.taken,
    l.value AS in_force, (
        SELECT coalesce(sum(CASE b.kind
            WHEN 'rpm' THEN (m.kind = 'sent')::integer
            ELSE least(10000000000, m.input::numeric + m.write_5m + m.write_1h + m.output)
        END), 0)::bigint
        FROM crewcap.movement AS m
        JOIN crewcap.hold AS h ON h.seq = m.hold
        JOIN crewcap.virtual_key AS k ON k.id = h.key
        WHERE m.id > b.since AND b.scope = ANY (k.scopes) AND h.boot NOT LIKE 'batch-%'
    ) AS told
FROM crewcap.bucket AS b
FULL JOIN (
    SELECT f.scope, f.kind, f.value FROM crewcap.beside_in_force AS f WHERE f.kind IN ('tpm', 'rpm')
) AS l ON (l.scope, l.kind) = (b.scope, b.kind)
ORDER BY 1, 2
"""

# Bundles that are not what their movements come to: what was added up and should not be, and the other way round.
_WRONG_BUNDLES = """
WITH again AS (
    SELECT quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces, sum(requests)::bigint,
        sum(spent)::bigint, sum(uncertain)::bigint, sum(notional)::bigint, sum(input)::bigint, sum(cache_read)::bigint,
        sum(write_5m)::bigint, sum(write_1h)::bigint, sum(output)::bigint, sum(thinking)::bigint
    FROM crewcap.told WHERE id <= (SELECT through FROM crewcap.bundled)
    GROUP BY quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces
)
SELECT DISTINCT quarter, key FROM (
    (SELECT * FROM crewcap.bundle EXCEPT SELECT * FROM again)
    UNION ALL
    (SELECT * FROM again EXCEPT SELECT * FROM crewcap.bundle)
) AS wrong
ORDER BY quarter, key LIMIT 20
"""
_BUNDLED_TOO_FAR = """
SELECT through FROM crewcap.bundled WHERE through > (SELECT coalesce(max(id), 0) FROM crewcap.movement)
"""


async def verify(db: Connection) -> Verified:
    """All checks; each problem is one line."""
    problems = list(await wrong_schema(db))
    if problems:  # the queries below trust it
        return Verified(entries=0, problems=tuple(problems))
    for check in (
        _wrong_order,
        _wrong_holds,
        _wrong_limits,
        _wrong_budgets,
        _wrong_tallies,
        _wrong_buckets,
        _wrong_bundles,
    ):
        problems += [problem async for problem in check(db)]
    return Verified(entries=await db.fetchval(_COUNT_ENTRIES), problems=tuple(problems))


async def _wrong_order(db: Connection) -> AsyncIterator[str]:
    row = await only_row(db, _GAPS)
    if row["count"] != row["newest"]:
        yield f"{row['newest'] - row['count']} of {row['newest']} movements are missing"
    fell = await db.fetchval(_TIME_FELL)
    if fell is not None:
        yield f"movement {fell} is booked before the one that it follows"


async def _wrong_holds(db: Connection) -> AsyncIterator[str]:
    for (hold,) in await db.fetch(_WRONG_HOLDS):
        yield f"hold {hold} is not what its movements say"
    for (hold,) in await db.fetch(_FORGOTTEN_HOLDS):
        yield f"hold {hold} is open, and its gateway has ended"
    for (problem,) in await db.fetch(_STRAYS):
        yield problem


async def _wrong_limits(db: Connection) -> AsyncIterator[str]:
    for (problem,) in await db.fetch(_WRONG_LIMITS):
        yield problem


async def _wrong_budgets(db: Connection) -> AsyncIterator[str]:
    for row in await db.fetch(_BUDGETS):
        if _is_misplaced(row):
            yield f"{row['scope']} ({row['label']}): the row does not begin and end as its {row['window']} does"
        for column in ("spent", "uncertain", "held"):
            found, told = Money(row[column]), Money(row[f"told_{column}"])
            if found != told:
                yield (f"{row['scope']} ({row['label']}): {column} is {found.exact()}, its entries say {told.exact()}")
    for (problem,) in await db.fetch(_UNENFORCED):
        yield problem


async def _wrong_tallies(db: Connection) -> AsyncIterator[str]:
    for row in await db.fetch(_TALLIES):
        here = f"{row['scope']} ({row['kind']}, {row['label']})"
        if not row["is_in_force"]:
            yield f"{here}: a row counts for no limit"
        if _is_misplaced(row):
            yield f"{here}: the row does not begin and end as its {row['window']} does"
        if row["used"] != row["told"]:
            yield f"{here}: {row['used']:,} are counted, its entries say {row['told']:,}"


async def _wrong_buckets(db: Connection) -> AsyncIterator[str]:
    for row in await db.fetch(_BUCKETS):
        here = f"the bucket of {row['scope']} ({row['kind']})"
        if row["value"] is None:
            yield f"{here} is missing"
            continue
        if row["value"] != row["in_force"]:
            yield f"{here} does not have the size of the limit in force"
        if row["taken"] != row["told"]:
            yield f"{here}: {row['taken']:,} were taken, its entries say {row['told']:,}"
        if not -row["taken"] * _PARTS <= row["level"] <= row["value"] * _PARTS:
            yield f"{here} is fuller than a minute fills it, or emptier than what was taken from it"


async def _wrong_bundles(db: Connection) -> AsyncIterator[str]:
    for (through,) in await db.fetch(_BUNDLED_TOO_FAR):
        yield f"reports add up to movement {through}, which is not in the books"
    for quarter, key in await db.fetch(_WRONG_BUNDLES):
        yield f"reports of key {key} at {at(quarter):%Y-%m-%d %H:%M} UTC do not add up to its entries"


def _is_misplaced(row: Any) -> bool:
    window: Window = row["window"]
    return Stretch(row["label"], row["starts_at"], row["ends_at"]) != span_named(window, row["label"], row["starts_at"])
