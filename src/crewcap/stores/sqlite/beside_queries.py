"""Statements about limits beside money, by name; the sentence above each says what it is for."""

from __future__ import annotations

# --- what was said ---------------------------------------------------------------------------------------------------

# Something was said about a rate or a count.
SAY = """
INSERT INTO beside_change (scope, kind, window, source, value, at)
VALUES (:scope, :kind, :window, :source, :value, :at)
"""

# The newest word of one source.
SAID_BY = """
SELECT value FROM beside_change
WHERE scope = :scope AND kind = :kind AND window = :window AND source = :source
ORDER BY id DESC LIMIT 1
"""

# The newest word of every source on a scope, a kind and a window.
SAID = """
SELECT c.source, c.value, c.id FROM beside_change AS c
WHERE c.scope = :scope AND c.kind = :kind AND c.window = :window AND c.id = (
    SELECT max(d.id) FROM beside_change AS d
    WHERE d.scope = c.scope AND d.kind = c.kind AND d.window = c.window AND d.source = c.source
)
"""

# What the settings file and the defaults say now.
SAID_BY_FILE = """
SELECT c.scope, c.kind, c.window, c.source FROM beside_change AS c
WHERE c.source IN ('file', 'default') AND c.value IS NOT NULL AND c.id = (
    SELECT max(d.id) FROM beside_change AS d
    WHERE d.scope = c.scope AND d.kind = c.kind AND d.window = c.window AND d.source = c.source
)
"""

# Everything that something was ever said about.
SAID_ABOUT = "SELECT DISTINCT scope, kind, window FROM beside_change"

# --- what is in force ------------------------------------------------------------------------------------------------

# What is in force for a scope, a kind and a window.
IN_FORCE = """
SELECT value, source FROM beside_in_force WHERE scope = :scope AND kind = :kind AND window = :window
"""

# All that is in force.
ALL_IN_FORCE = "SELECT scope, kind, window, value, source, version FROM beside_in_force ORDER BY scope, kind, window"

# Put a limit in force.
ENFORCE = """
INSERT INTO beside_in_force (scope, kind, window, value, source, version)
VALUES (:scope, :kind, :window, :value, :source, :version)
ON CONFLICT (scope, kind, window) DO UPDATE SET
    value = excluded.value, source = excluded.source, version = excluded.version
"""

# Nothing limits this any more.
LIFT = "DELETE FROM beside_in_force WHERE scope = :scope AND kind = :kind AND window = :window"
LIFT_TALLY = "DELETE FROM tally WHERE scope = :scope AND kind = :kind AND window = :window"
LIFT_BUCKET = "DELETE FROM bucket WHERE scope = :scope AND kind = :kind"

# --- buckets ---------------------------------------------------------------------------------------------------------

# A bucket as it stands.
BUCKET = "SELECT value, level, at FROM bucket WHERE scope = :scope AND kind = :kind"

# A new bucket, full.
ADD_BUCKET = """
INSERT INTO bucket (scope, kind, value, level, at, since, taken)
VALUES (:scope, :kind, :value, :level, :at, (SELECT coalesce(max(id), 0) FROM movement), 0)
"""

# Another size or another time: what is in it, and by which clock.
SET_BUCKET = "UPDATE bucket SET value = :value, level = :level, at = :at WHERE scope = :scope AND kind = :kind"

# Every bucket, to be looked at.
ALL_BUCKETS = "SELECT scope, kind, value, level, since, taken FROM bucket ORDER BY scope, kind"

# What a scope's movements took since a bucket was made.
TAKEN = """
SELECT coalesce(sum(CASE :kind
    WHEN 'rpm' THEN m.kind = 'sent'
    ELSE min(10000000000, m.input + m.write_5m + m.write_1h + m.output)
END), 0)
FROM movement AS m
CROSS JOIN hold AS h ON h.seq = m.hold
CROSS JOIN key_scope AS s ON s.key = h.key AND s.scope = :scope
WHERE m.id > :since AND h.boot NOT LIKE 'batch-%'
"""

# --- what is free ----------------------------------------------------------------------------------------------------

_BESIDE = """
SELECT b.scope, b.kind, b.window, b.value, b.source, b.version, t.label, t.starts_at, t.ends_at, t.used, k.level, k.at
"""
_ROWS = """
LEFT JOIN tally AS t ON t.scope = b.scope AND t.kind = b.kind AND t.window = b.window
    AND t.ends_at > :at AND t.starts_at <= :at
LEFT JOIN bucket AS k ON k.scope = b.scope AND k.kind = b.kind
"""

# Every rate and count on a key's scopes with its bucket, and its rows at an instant: none yet, one, or two zones'.
OF_KEY = (
    _BESIDE
    + "FROM key_scope AS s CROSS JOIN beside_in_force AS b ON b.scope = s.scope"
    + _ROWS
    + "WHERE s.key = :key ORDER BY s.place, b.kind, b.window"
)

# The same for every limit there is.
EVERY = _BESIDE + "FROM beside_in_force AS b" + _ROWS + "ORDER BY b.scope, b.kind, b.window"

# Requests of a scope that are in flight.
IN_FLIGHT = """
SELECT count(*) FROM open_hold AS o
CROSS JOIN hold AS h ON h.seq = o.hold
CROSS JOIN key_scope AS s ON s.key = h.key AND s.scope = :scope
WHERE NOT o.closed AND o.boot NOT LIKE 'batch-%'
"""

# Runs of a scope that a key was made for in a window.
RUNS_BETWEEN = """
SELECT count(DISTINCT k.run) FROM virtual_key AS k
CROSS JOIN key_scope AS s ON s.key = k.id AND s.scope = :scope
WHERE k.run <> ''
    AND coalesce(k.booked_at, k.created_at) >= :starts_at AND coalesce(k.booked_at, k.created_at) < :ends_at
"""

# Whether a run was counted in a scope and a window.
RUN_BETWEEN = """
SELECT EXISTS (
    SELECT 1 FROM virtual_key AS k
    CROSS JOIN key_scope AS s ON s.key = k.id AND s.scope = :scope
    WHERE k.run = :run AND k.run <> ''
        AND coalesce(k.booked_at, k.created_at) >= :starts_at AND coalesce(k.booked_at, k.created_at) < :ends_at
)
"""

# Microseconds that the keys of a scope's runs lived in a window, until now.
LIVED_BETWEEN = """
SELECT coalesce(sum(max(0,
    min(coalesce(k.revoked_at, :ends_at), coalesce(k.expires_at, :ends_at), :ends_at, :now)
        - max(coalesce(k.booked_at, k.created_at), :starts_at)
)), 0)
FROM key_scope AS s
CROSS JOIN virtual_key AS k ON k.id = s.key
WHERE s.scope = :scope AND k.run <> ''
"""

# Tokens of a scope in all of time, and in a window: everything that was booked in it, whenever it settled.
TOKENS_EVER = """
SELECT coalesce(sum(t.tokens), 0) FROM key_scope AS s
CROSS JOIN hold AS h ON h.key = s.key
CROSS JOIN hold_tokens AS t ON t.hold = h.seq
WHERE s.scope = :scope
"""
TOKENS_BETWEEN = """
SELECT coalesce(sum(t.tokens), 0) FROM hold AS h
CROSS JOIN key_scope AS s ON s.key = h.key AND s.scope = :scope
CROSS JOIN hold_tokens AS t ON t.hold = h.seq
WHERE h.booked_at >= :starts_at AND h.booked_at < :ends_at
"""

# Those of them that requests in flight may still give back.
TOKENS_IN_FLIGHT = """
SELECT coalesce(sum(t.tokens), 0) FROM open_hold AS o
CROSS JOIN hold AS h ON h.seq = o.hold
CROSS JOIN key_scope AS s ON s.key = h.key AND s.scope = :scope
CROSS JOIN hold_tokens AS t ON t.hold = h.seq
WHERE NOT o.closed AND o.boot NOT LIKE 'batch-%' AND h.booked_at >= :starts_at AND h.booked_at < :ends_at
"""

# A count begins in a window.
ADD_TALLY = """
INSERT INTO tally (scope, kind, window, label, starts_at, ends_at, used)
VALUES (:scope, :kind, :window, :label, :starts_at, :ends_at, :used)
"""

# Every row of a count, to be recomputed.
ALL_TALLIES = "SELECT scope, kind, window, label, starts_at, ends_at, used FROM tally ORDER BY id"
