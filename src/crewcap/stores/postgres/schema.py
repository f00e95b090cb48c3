"""Whether the schema is as our migrations make it: a trigger that somebody dropped is no fence.

What it should be is not written down anywhere but in the migrations: they are run once more into the session's own
temporary schema, in a transaction that is undone, and both are described by the same server in the same words. That
needs no right beyond the one to make temporary tables, and is done once for each process and server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crewcap.stores.postgres.migrations import known
from crewcap.stores.postgres.wire import Connection, version_of

# Tables with their columns, constraints, indexes, triggers and functions, each in the server's own words.
_DESCRIBED = """
WITH here AS (SELECT $1::oid AS oid)
SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
    concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.attidentity,
        pg_get_expr(d.adbin, d.adrelid)) AS said
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'c')
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = (SELECT oid FROM here) AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'view', c.relname, pg_get_viewdef(c.oid) FROM pg_class AS c
WHERE c.relnamespace = (SELECT oid FROM here) AND c.relkind = 'v'
UNION ALL
SELECT 'index', i.relname, pg_get_indexdef(i.oid) FROM pg_class AS i
WHERE i.relnamespace = (SELECT oid FROM here) AND i.relkind = 'i'
UNION ALL
SELECT 'constraint', r.relname || '.' || c.conname, pg_get_constraintdef(c.oid) || c.convalidated::text
FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.conrelid
WHERE r.relnamespace = (SELECT oid FROM here) AND c.contype IN ('c', 'p', 'u', 'f', 'x')
UNION ALL
SELECT 'trigger', t.tgname, pg_get_triggerdef(t.oid) || t.tgenabled::text
FROM pg_trigger AS t JOIN pg_class AS r ON r.oid = t.tgrelid
WHERE r.relnamespace = (SELECT oid FROM here) AND NOT t.tgisinternal
UNION ALL
SELECT 'rule', w.rulename, pg_get_ruledef(w.oid)
FROM pg_rewrite AS w JOIN pg_class AS r ON r.oid = w.ev_class
WHERE r.relnamespace = (SELECT oid FROM here) AND r.relkind = 'r'
UNION ALL
SELECT 'function', p.proname, concat_ws(' ', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
    p.provolatile, p.prosecdef::text, coalesce(p.proconfig::text, ''), p.prosrc)
FROM pg_proc AS p
WHERE p.pronamespace = (SELECT oid FROM here)
"""
_OURS = "SELECT oid FROM pg_namespace WHERE nspname = 'crewcap'"
_SCRATCH = "SELECT pg_my_temp_schema()"
_NAMESPACES = re.compile(r"\b(?:crewcap|pg_temp(?:_\d+)?)\.")
_OURS_TOO = "migration"  # made by whoever runs migrations, not by one of them

_Described = Mapping[tuple[str, str], str]
_expected: dict[tuple[int, ...], _Described] = {}


async def wrong_schema(db: Connection) -> tuple[str, ...]:
    """What differs from the schema that our migrations make; inside or outside a transaction that may write."""
    version = version_of(db)
    if version not in _expected:
        _expected[version] = await _as_it_should_be(db)
    expected, found = _expected[version], await _described(db, await db.fetchval(_OURS))
    problems = []
    for kind, name in sorted(expected.keys() | found.keys()):
        if (kind, name) not in found:
            problems.append(f"the {kind} {name} is missing from the schema")
        elif (kind, name) not in expected:
            problems.append(f"the {kind} {name} does not belong to the schema")
        elif found[kind, name] != expected[kind, name]:
            problems.append(f"the {kind} {name} is not as crewcap made it")
    return tuple(problems)


async def _as_it_should_be(db: Connection) -> _Described:
    """The migrations once more, in the temporary schema, and undone."""
    scratch = db.transaction()
    await scratch.start()
    try:
        for migration in known():
            await db.execute(re.sub(r"\bcrewcap\.", "pg_temp.", migration.sql))
        return await _described(db, await db.fetchval(_SCRATCH))
    finally:
        await scratch.rollback()


async def _described(db: Connection, schema: int) -> _Described:
    rows = await db.fetch(_DESCRIBED, schema)
    return {
        (row["kind"], row["name"]): _NAMESPACES.sub("", row["said"])
        for row in rows
        if not row["name"].startswith(_OURS_TOO)
    }
