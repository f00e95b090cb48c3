"""Every statement of the ledger, by name; the sentence above each says what it is for.

Rows come back as plain tuples in the order that is written here. Parameters are always bound, never pasted.
"""

from __future__ import annotations

# --- who and when ----------------------------------------------------------------------------------------------------

# The one row of identity, written when the books are made; a second process that makes them at once changes nothing.
MAKE_IDENTITY = "INSERT INTO ledger (one, uuid, made_at, zone) VALUES (1, :uuid, :at, :zone) ON CONFLICT DO NOTHING"

# Who these books are, and whether they are a copy.
IDENTITY = "SELECT uuid, copied_at FROM ledger"

# What must be known to tell the time: zone, doubt, how often the clock was accepted, and the newest movement; and
# whether there is any limit beside money, so that nobody looks for them in vain.
TIME = """
SELECT l.zone, l.clock_doubt, l.clock_accepts, coalesce(m.id, 0), coalesce(m.at, 0), coalesce(m.wall, 0),
    EXISTS (SELECT 1 FROM beside_in_force)
FROM ledger AS l
LEFT JOIN movement AS m ON m.id = (SELECT max(id) FROM movement)
"""

# The newest movement's number, 0 for books without one.
NEWEST_MOVEMENT = "SELECT coalesce(max(id), 0) FROM movement"

# Remember, for all processes, that the clock is not trusted.
DOUBT_CLOCK = "UPDATE ledger SET clock_doubt = :doubt"

# An operator's word that the clock is right.
ACCEPT_CLOCK = """
UPDATE ledger SET clock_doubt = '', clock_accepts = clock_accepts + 1, clock_accepted_at = :at
RETURNING clock_accepts
"""

# Change the calendar's zone.
SET_ZONE = "UPDATE ledger SET zone = :zone"

# Mark a copy as one (in the copy), or as accepted in place of the lost books.
MARK_COPY = "UPDATE ledger SET copied_at = :at"
ADOPT_COPY = "UPDATE ledger SET copied_at = NULL, uuid = :uuid"

# --- boots -----------------------------------------------------------------------------------------------------------

# A gateway begins.
START_BOOT = "INSERT INTO boot (id, pid, started_at) VALUES (:boot, :pid, :at)"

# Gateways that nobody has seen end; a batch is no gateway, and lives until somebody ends it.
LIVING_BOOTS = "SELECT id FROM boot WHERE ended_at IS NULL AND id NOT LIKE 'batch-%'"

# A batch begins, or goes on.
START_BATCH = "INSERT INTO boot (id, pid, started_at) VALUES (:boot, 0, :at) ON CONFLICT DO NOTHING"

# Batches that nobody ended.
LIVING_BATCHES = "SELECT id FROM boot WHERE ended_at IS NULL AND id LIKE 'batch-%' ORDER BY id"

# A gateway ended, or was found dead.
END_BOOT = "UPDATE boot SET ended_at = :at WHERE id = :boot AND ended_at IS NULL"

# Holds in flight of one boot.
OPEN_OF_BOOT = "SELECT hold, held FROM open_hold WHERE boot = :boot AND NOT closed ORDER BY hold"

# --- keys ------------------------------------------------------------------------------------------------------------

# A new key, by its hash.
ADD_KEY = """
INSERT INTO virtual_key (id, hash, created_at, booked_at, expires_at, models, max_output, max_turns, capped, run, label)
VALUES (:id, :hash, :created_at, :booked_at, :expires_at, :models, :max_output, :max_turns, :capped, :run, :label)
"""

# One of its scopes, in order.
ADD_KEY_SCOPE = "INSERT INTO key_scope (key, place, scope) VALUES (:key, :place, :scope)"

_KEY = """
SELECT id, hash, created_at, expires_at, revoked_at, models, max_output, max_turns, capped, run, label
FROM virtual_key
"""

# A key by what the client showed, hashed.
KEY_BY_HASH = _KEY + "WHERE hash = :hash"

# Every key, newest first.
ALL_KEYS = _KEY + "ORDER BY created_at DESC, seq DESC"

# The scopes of one key, in order.
SCOPES_OF_KEY = "SELECT scope FROM key_scope WHERE key = :key ORDER BY place"

# Refuse a key from now on.
REVOKE_KEY = "UPDATE virtual_key SET revoked_at = :at WHERE id = :key AND revoked_at IS NULL"

# What decides whether a key may be used, and whether the boot that asks for it lives.
KEY_TO_RESERVE = """
SELECT k.expires_at, k.revoked_at, k.models, k.max_turns,
    EXISTS (SELECT 1 FROM boot AS b WHERE b.id = :boot AND b.ended_at IS NULL)
FROM virtual_key AS k
WHERE k.id = :key
"""

# How many requests were granted on a key.
TURNS_OF_KEY = "SELECT count(*) FROM hold WHERE key = :key"

# --- limits and windows ----------------------------------------------------------------------------------------------

# Something was said about a limit.
SAY_LIMIT = """
INSERT INTO limit_change (scope, window, source, limit_nano, at) VALUES (:scope, :window, :source, :limit_nano, :at)
"""

# The newest word of one source.
SAID_BY = """
SELECT limit_nano FROM limit_change
WHERE scope = :scope AND window = :window AND source = :source
ORDER BY id DESC LIMIT 1
"""

# The newest word of every source on a scope and a window.
SAID = """
SELECT c.source, c.limit_nano, c.id FROM limit_change AS c
WHERE c.scope = :scope AND c.window = :window AND c.id = (
    SELECT max(d.id) FROM limit_change AS d
    WHERE d.scope = c.scope AND d.window = c.window AND d.source = c.source
)
"""

# What the settings file and the defaults say now. A default on an issue is brought along by its runs, and stays.
SAID_BY_FILE = """
SELECT c.scope, c.window, c.source FROM limit_change AS c
WHERE (c.source = 'file' OR (c.source = 'default' AND c.scope NOT LIKE 'issue:%'))
    AND c.limit_nano IS NOT NULL AND c.id = (
    SELECT max(d.id) FROM limit_change AS d
    WHERE d.scope = c.scope AND d.window = c.window AND d.source = c.source
)
"""

# Every scope and window that something was ever said about.
SAID_ABOUT = "SELECT DISTINCT scope, window FROM limit_change"

# What is in force for a scope and a window.
IN_FORCE = "SELECT limit_nano, source, version FROM limit_in_force WHERE scope = :scope AND window = :window"

# All that is in force.
ALL_IN_FORCE = "SELECT scope, window, limit_nano, source, version FROM limit_in_force ORDER BY scope, window"

# Put a limit in force.
ENFORCE = """
INSERT INTO limit_in_force (scope, window, limit_nano, source, version)
VALUES (:scope, :window, :limit_nano, :source, :version)
ON CONFLICT (scope, window) DO UPDATE SET
    limit_nano = excluded.limit_nano, source = excluded.source, version = excluded.version
"""

# Windows that are not over follow their limit at once.
ENFORCE_IN_WINDOWS = """
UPDATE budget SET limit_nano = :limit_nano WHERE scope = :scope AND window = :window AND ends_at > :at
"""

# Nothing limits this any more.
LIFT = "DELETE FROM limit_in_force WHERE scope = :scope AND window = :window"
LIFT_IN_WINDOWS = "DELETE FROM budget WHERE scope = :scope AND window = :window"

_IN_WINDOW = """
SELECT l.scope, l.window, l.limit_nano, l.source, l.version, b.label, b.ends_at, b.spent, b.uncertain, b.held
"""
_ROW_NOW = """
LEFT JOIN budget AS b ON b.scope = l.scope AND b.window = l.window AND b.ends_at > :at AND b.starts_at <= :at
"""

# Every limit on a key's scopes with its rows at an instant: none yet, one, or one in each of two zones.
LIMITS_OF_KEY = (
    _IN_WINDOW
    + "FROM key_scope AS s JOIN limit_in_force AS l ON l.scope = s.scope"
    + _ROW_NOW
    + "WHERE s.key = :key ORDER BY s.place, l.window"
)

# The same for every limit there is.
LIMITS = _IN_WINDOW + "FROM limit_in_force AS l" + _ROW_NOW + "ORDER BY l.scope, l.window"

# What a scope has become in all of time.
SUMS_EVER = """
SELECT coalesce(sum(m.spent_delta), 0), coalesce(sum(m.uncertain_delta), 0), coalesce(sum(m.held_delta), 0)
FROM key_scope AS s
CROSS JOIN hold AS h ON h.key = s.key
CROSS JOIN movement AS m ON m.hold = h.seq
WHERE s.scope = :scope
"""

# What a scope has become in a window: everything that was booked in it, whenever it moved later.
SUMS_BETWEEN = """
SELECT coalesce(sum(m.spent_delta), 0), coalesce(sum(m.uncertain_delta), 0), coalesce(sum(m.held_delta), 0)
FROM hold AS h
CROSS JOIN key_scope AS s ON s.key = h.key AND s.scope = :scope
CROSS JOIN movement AS m ON m.hold = h.seq
WHERE h.booked_at >= :starts_at AND h.booked_at < :ends_at
"""

# A new window of a limit begins with what is in it.
ADD_BUDGET = """
INSERT INTO budget (scope, window, label, starts_at, ends_at, limit_nano, spent, uncertain, held)
VALUES (:scope, :window, :label, :starts_at, :ends_at, :limit_nano, :spent, :uncertain, :held)
"""

# What batches hold in each window of a key's scopes, but for its own.
HELD_BY_BATCHES = """
SELECT b.scope, b.window, b.label, (
    SELECT coalesce(sum(o.held), 0)
    FROM open_hold AS o
    CROSS JOIN hold AS h ON h.seq = o.hold
    CROSS JOIN key_scope AS k ON k.key = h.key AND k.scope = b.scope
    WHERE NOT o.closed AND o.boot LIKE 'batch-%' AND h.booked_at >= b.starts_at AND h.booked_at < b.ends_at
)
FROM key_scope AS s
CROSS JOIN budget AS b ON b.scope = s.scope AND b.ends_at > :at AND b.starts_at <= :at
WHERE s.key = :key AND s.scope <> 'key:' || :key
"""

# --- holds -----------------------------------------------------------------------------------------------------------

# A hold that was made before, with what it was made for.
HOLD_MADE = "SELECT key, amount, boot FROM hold WHERE id = :hold"

# A new hold.
ADD_HOLD = """
INSERT INTO hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit, asked_output,
    agent, parent_agent, notes)
VALUES (:id, :boot, :key, :booked_at, :amount, :provider, :model, :book, :prompt_bound, :output_limit, :asked_output,
    :agent, :parent_agent, :notes)
"""

# The same where nothing stands in its way: a key that may be used and has turns left, a boot that lives, room in every
# budget, and a row of today's for each limit. No row = something may; it has to be asked what.
ADD_PLAIN_HOLD = """
INSERT INTO hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit, asked_output,
    agent, parent_agent, notes)
SELECT :id, :boot, :key, :booked_at, :amount, :provider, :model, :book, :prompt_bound, :output_limit, :asked_output,
    :agent, :parent_agent, :notes
FROM virtual_key AS k
WHERE k.id = :key AND k.revoked_at IS NULL AND (k.expires_at > :booked_at) IS NOT FALSE
    AND (k.models = '[]' OR EXISTS (SELECT 1 FROM json_each(k.models) AS m WHERE m.value = :model))
    AND (k.max_turns IS NULL OR (SELECT count(*) FROM hold AS h WHERE h.key = k.id) < k.max_turns)
    AND EXISTS (SELECT 1 FROM boot AS b WHERE b.id = :boot AND b.ended_at IS NULL)
    AND NOT EXISTS (
        SELECT 1 FROM key_scope AS s CROSS JOIN limit_in_force AS l ON l.scope = s.scope
        WHERE s.key = k.id AND NOT EXISTS (
            SELECT 1 FROM budget AS b WHERE b.scope = l.scope AND b.window = l.window AND b.label = CASE l.window
                WHEN 'day' THEN :day WHEN 'week' THEN :week WHEN 'month' THEN :month ELSE l.window
            END
        )
    )
    AND NOT EXISTS (
        SELECT 1 FROM key_scope AS s CROSS JOIN budget AS b ON b.scope = s.scope
        WHERE s.key = k.id AND b.ends_at > :booked_at AND b.starts_at <= :booked_at
            AND :amount + CASE WHEN b.window = 'total' AND b.scope LIKE 'run:%' THEN :keep ELSE 0 END
                > max(0, b.limit_nano - b.spent - b.uncertain - b.held)
    )
ON CONFLICT (id) DO NOTHING
"""

# Money is held for it: from here on the request may be sent.
SEND = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)
VALUES (:hold, 'sent', :amount, 0, 0, :at, :wall)
"""

# A hold by its name, with what is still open of it (null where it is closed for good).
HOLD_NOW = """
SELECT h.seq, h.amount, o.held, o.uncertain, o.shrunk, o.closed
FROM hold AS h LEFT JOIN open_hold AS o ON o.hold = h.seq
WHERE h.id = :hold
"""

# Early release.
SHRINK = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
VALUES (:hold, 'shrunk', :held_delta, 0, 0, :at, :wall, 'early release')
"""

# The end of a hold, with all that `audit` needs.
CLOSE = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, notional_delta, at, wall, input, cache_read,
    write_5m, write_1h, output, thinking, pieces, model, card, request_id, status, reason, incident, raw_usage)
VALUES (:hold, :kind, :held_delta, :uncertain_delta, :spent_delta, :notional_delta, :at, :wall, :input, :cache_read,
    :write_5m, :write_1h, :output, :thinking, :pieces, :model, :card, :request_id, :status, :reason, :incident,
    :raw_usage)
"""

# A hold whose gateway is gone stays charged in full.
LOSE = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
VALUES (:hold, 'uncertain', -:held, :held, 0, :at, :wall, :reason)
"""

# Somebody proved what an uncertain hold cost.
RECONCILE = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
VALUES (:hold, 'reconciled', 0, :uncertain_delta, :spent_delta, :at, :wall, :reason)
"""

# What a request costs now, where it is there.
COST_NOW = """
SELECT h.seq, sum(m.spent_delta) FROM hold AS h JOIN movement AS m ON m.hold = h.seq WHERE h.id = :hold GROUP BY h.seq
"""

# Other prices: the difference, and the card that it was computed by.
CORRECT = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, card, reason)
VALUES (:hold, 'corrected', 0, 0, :spent_delta, :at, :wall, :card, :reason)
"""

# A request that was not sent.
ADD_REFUSAL = """
INSERT INTO refusal (key, at, model, needed, message) VALUES (:key, :at, :model, :needed, :message)
"""

# --- incidents -------------------------------------------------------------------------------------------------------

# A provider is frozen, unless it is already.
FREEZE = """
INSERT INTO incident (provider, reason, at) VALUES (:provider, :reason, :at) ON CONFLICT DO NOTHING
"""

# Who is frozen, and why.
FROZEN = "SELECT provider, reason, at FROM incident WHERE thawed_at IS NULL ORDER BY id"

# Somebody has looked.
THAW = "UPDATE incident SET thawed_at = :at, word = :word WHERE provider = :provider AND thawed_at IS NULL"

# --- reading ---------------------------------------------------------------------------------------------------------

_OPEN = """
SELECT h.id, h.key, k.run, h.model, o.held, o.uncertain, h.booked_at,
    trim(coalesce(c.reason || '; ' || c.incident, ''), '; ')
FROM open_hold AS o
JOIN hold AS h ON h.seq = o.hold
JOIN virtual_key AS k ON k.id = h.key
LEFT JOIN movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
"""

# Holds in flight, of one run or of all.
OPEN_HOLDS = _OPEN + "WHERE NOT o.closed AND (:run = '' OR k.run = :run) ORDER BY o.hold"

# Closed holds with money that nobody proved.
UNCERTAIN_HOLDS = _OPEN + "WHERE o.closed ORDER BY o.hold"

_CLOSED = """
    h.id, h.key, k.run, c.kind, h.provider, h.model, h.agent, h.booked_at, h.amount, h.notes, h.book,
    c.spent_delta, c.uncertain_delta, c.notional_delta, c.input, c.cache_read, c.write_5m, c.write_1h, c.output,
    c.thinking, c.pieces, c.model, c.at, c.request_id, c.reason, c.incident, c.card, c.raw_usage,
    coalesce(r.spent_delta, 0), coalesce(r.uncertain_delta, 0), coalesce(r.at, 0), r.reason,
    (SELECT sum(x.spent_delta) FROM movement AS x WHERE x.hold = h.seq AND x.kind = 'corrected'),
    (SELECT x.card FROM movement AS x WHERE x.hold = h.seq AND x.kind = 'corrected' ORDER BY x.id DESC LIMIT 1)
FROM hold AS h
JOIN virtual_key AS k ON k.id = h.key
JOIN movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
LEFT JOIN movement AS r ON r.hold = h.seq AND r.kind = 'reconciled'
WHERE h.booked_at >= :since AND h.booked_at < :until
    AND (:scope = 'all' OR EXISTS (SELECT 1 FROM key_scope AS s WHERE s.key = h.key AND s.scope = :scope))
"""

# Closed requests with how they ended, and what was said of them later; by scope and by the time of the reservation.
ENTRIES = "SELECT" + _CLOSED + "ORDER BY h.seq"

# The same from one hold on, so many.
ENTRIES_PAGE = (
    "SELECT h.seq,"
    + _CLOSED.replace("h.booked_at >=", "+h.booked_at >=").replace("h.booked_at <", "+h.booked_at <")
    + "AND h.seq > :after ORDER BY h.seq LIMIT :page"
)

# Whether one of a key's requests was answered under this name.
HAS_ANSWER = """
SELECT EXISTS (
    SELECT 1 FROM hold AS h JOIN movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'uncertain')
    WHERE h.key = :key AND c.request_id = :request_id
)
"""

# What a scope has become in all of time, with its tokens.
TOTALS = """
SELECT coalesce(sum(m.spent_delta), 0), coalesce(sum(m.uncertain_delta), 0), coalesce(sum(m.held_delta), 0),
    coalesce(sum(m.notional_delta), 0), coalesce(sum(m.kind = 'sent'), 0), coalesce(sum(m.input), 0),
    coalesce(sum(m.cache_read), 0), coalesce(sum(m.write_5m), 0), coalesce(sum(m.write_1h), 0),
    coalesce(sum(m.output), 0), coalesce(sum(m.thinking), 0),
    coalesce(sum(CASE WHEN m.kind IN ('settled', 'released', 'uncertain') THEN m.at - h.booked_at END), 0)
FROM key_scope AS s
CROSS JOIN hold AS h ON h.key = s.key
CROSS JOIN movement AS m ON m.hold = h.seq
WHERE s.scope = :scope
"""

# What was billed by the piece in a scope.
PIECES = """
SELECT p.key, sum(p.value)
FROM key_scope AS s
CROSS JOIN hold AS h ON h.key = s.key
CROSS JOIN movement AS m ON m.hold = h.seq AND m.pieces <> '{}'
CROSS JOIN json_each(m.pieces) AS p
WHERE s.scope = :scope
GROUP BY p.key ORDER BY p.key
"""

# Requests of a scope that were refused.
REFUSED = """
SELECT count(*) FROM key_scope AS s CROSS JOIN refusal AS r ON r.key = s.key WHERE s.scope = :scope
"""

# What the newest refused request of a scope needed, unless one was granted after it. Names of models have no wildcards.
NEEDED = """
SELECT r.needed
FROM key_scope AS s CROSS JOIN refusal AS r ON r.key = s.key
WHERE s.scope = :scope AND substr(r.model, 1, length(:model)) = :model AND NOT EXISTS (
    SELECT 1 FROM key_scope AS t CROSS JOIN hold AS h ON h.key = t.key
    WHERE t.scope = :scope AND h.booked_at > r.at AND substr(h.model, 1, length(:model)) = :model
)
ORDER BY r.id DESC LIMIT 1
"""

# --- verifying -------------------------------------------------------------------------------------------------------

# How many requests are closed.
COUNT_ENTRIES = "SELECT count(*) FROM movement WHERE kind IN ('settled', 'released', 'uncertain')"

# Movements are numbered without a gap and time never falls.
GAPS = "SELECT count(*), coalesce(max(id), 0) FROM movement"
TIME_FELL = """
SELECT id FROM (SELECT id, at, lag(at) OVER (ORDER BY id) AS before FROM movement) WHERE at < before LIMIT 1
"""

# Each hold as its movements tell it, where that is not what `open_hold` says, or breaks the law of one hold.
WRONG_HOLDS = """
WITH told AS (
    SELECT h.seq, h.id, h.boot, h.amount, sum(m.held_delta) FILTER (WHERE m.kind = 'sent') AS opened,
        sum(m.held_delta) AS held, sum(m.uncertain_delta) AS uncertain,
        sum(m.spent_delta) AS spent, sum(m.kind = 'sent') AS sent, sum(m.kind = 'shrunk') AS shrunk,
        sum(m.kind IN ('settled', 'released', 'uncertain')) AS closed
    FROM hold AS h LEFT JOIN movement AS m ON m.hold = h.seq
    GROUP BY h.seq
)
SELECT t.id FROM told AS t LEFT JOIN open_hold AS o ON o.hold = t.seq
WHERE t.sent IS NOT 1 OR t.opened IS NOT t.amount OR t.closed > 1
    OR t.held < 0 OR t.uncertain < 0 OR t.spent < 0 OR (t.closed AND t.held <> 0)
    OR CASE WHEN t.closed AND t.uncertain = 0 THEN o.hold IS NOT NULL
        ELSE (o.held, o.uncertain, o.shrunk, o.closed, o.boot) IS NOT (t.held, t.uncertain, t.shrunk, t.closed, t.boot)
    END
ORDER BY t.seq
"""

# Holds that nobody can close any more: their gateway has ended, and the end of a gateway closes what it held.
FORGOTTEN_HOLDS = """
SELECT h.id FROM open_hold AS o JOIN hold AS h ON h.seq = o.hold JOIN boot AS b ON b.id = o.boot
WHERE NOT o.closed AND b.ended_at IS NOT NULL
ORDER BY o.hold
"""

# Open holds of no hold at all.
STRAY_OPEN_HOLDS = "SELECT hold FROM open_hold WHERE hold NOT IN (SELECT seq FROM hold)"

# Every budget row, to be recomputed.
ALL_BUDGETS = """
SELECT scope, window, label, starts_at, ends_at, limit_nano, spent, uncertain, held FROM budget ORDER BY id
"""

# Rows of windows that are not over at the newest entry's time, whose limit is not the one in force.
UNENFORCED = """
SELECT b.scope, b.window, b.label
FROM budget AS b LEFT JOIN limit_in_force AS l ON l.scope = b.scope AND l.window = b.window
WHERE l.scope IS NULL OR (
    b.limit_nano <> l.limit_nano AND b.ends_at > (SELECT max(at) FROM (SELECT max(at) AS at FROM movement
        UNION ALL SELECT max(at) FROM limit_change))
)
ORDER BY b.id
"""

# Keys whose scopes do not begin with the key itself and end with everything.
WRONG_KEYS = """
SELECT k.id FROM virtual_key AS k
WHERE (SELECT s.scope FROM key_scope AS s WHERE s.key = k.id ORDER BY s.place LIMIT 1) IS NOT 'key:' || k.id
    OR (SELECT s.scope FROM key_scope AS s WHERE s.key = k.id ORDER BY s.place DESC LIMIT 1) IS NOT 'all'
"""

# Bundles that are not what their movements come to: what was added up and should not be, and the other way round.
WRONG_BUNDLES = """
WITH again AS (
    SELECT quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces, sum(requests) AS requests,
        sum(spent) AS spent, sum(uncertain) AS uncertain, sum(notional) AS notional, sum(input) AS input,
        sum(cache_read) AS cache_read, sum(write_5m) AS write_5m, sum(write_1h) AS write_1h, sum(output) AS output,
        sum(thinking) AS thinking
    FROM told WHERE id <= (SELECT through FROM bundled)
    GROUP BY quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces
)
SELECT DISTINCT quarter, key FROM (
    SELECT * FROM (SELECT * FROM bundle EXCEPT SELECT * FROM again)
    UNION ALL
    SELECT * FROM (SELECT * FROM again EXCEPT SELECT * FROM bundle)
)
ORDER BY quarter, key LIMIT 20
"""

# How far what was added up goes, where the books do not go so far.
BUNDLED_TOO_FAR = "SELECT through FROM bundled WHERE through > (SELECT coalesce(max(id), 0) FROM movement)"

# The schema as it is in the file.
SCHEMA = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
