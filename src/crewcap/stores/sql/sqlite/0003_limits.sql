-- Limits beside money: rates (tokens and requests a minute, requests at once) and counts (runs, tokens, hours of a window).
--
--   facts, append-only    beside_change  virtual_key.booked_at
--   derived from them     beside_in_force  tally  bucket        (`crewcap ledger verify` looks at all three)
--
-- Nothing of this costs a ledger that has no such limit more than a look into an empty table.

-- What was said of a rate or a count, by whom; a null value takes back what that source said. Rates have no window.
CREATE TABLE beside_change (
    id     INTEGER PRIMARY KEY,
    scope  TEXT NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('tpm', 'rpm', 'concurrent', 'runs', 'tokens', 'hours')),
    window TEXT NOT NULL CHECK (window IN ('', 'total', 'day', 'week', 'month')),
    source TEXT NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    value  INTEGER CHECK (value >= 0 AND value <= CASE window WHEN '' THEN 10000000000 ELSE 1000000000000000 END),
    at     INTEGER NOT NULL,
    CHECK ((window = '') = (kind IN ('tpm', 'rpm', 'concurrent')))
) STRICT;

CREATE INDEX beside_change_by_scope ON beside_change (scope, kind, window, source, id);

-- The limit that counts for a scope, a kind and a window: the strongest source's newest word.
CREATE TABLE beside_in_force (
    scope   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    window  TEXT NOT NULL,
    value   INTEGER NOT NULL,
    source  TEXT NOT NULL,
    version INTEGER NOT NULL,  -- the change that made it so
    PRIMARY KEY (scope, kind, window)
) STRICT, WITHOUT ROWID;

-- A count in one window of the calendar. `used` is kept for tokens alone: runs and hours are read off the keys, and have
-- a row only while the calendar's zone changes, to remember the old zone's window until it ends.
CREATE TABLE tally (
    id        INTEGER PRIMARY KEY,
    scope     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    window    TEXT NOT NULL,
    label     TEXT NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    used      INTEGER NOT NULL,
    UNIQUE (scope, kind, window, label)
) STRICT;

CREATE INDEX tally_by_end ON tally (scope, kind, ends_at);

-- The bucket of a rate in force: parts, 60 million of which are one token or one request, so that `value` parts fill it
-- every microsecond. It holds one minute's worth and may be in debt. Its clock is the wall clock as it was trusted: one
-- that was set back fills nothing, and goes on from there.
CREATE TABLE bucket (
    scope TEXT NOT NULL,
    kind  TEXT NOT NULL CHECK (kind IN ('tpm', 'rpm')),
    value INTEGER NOT NULL,
    level INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    since INTEGER NOT NULL,  -- the newest movement when it was made
    taken INTEGER NOT NULL,  -- tokens or requests, of all movements after that one
    PRIMARY KEY (scope, kind)
) STRICT, WITHOUT ROWID;

-- When a key was made, in window time: the window that its run is counted in. Keys of older ledgers go by their own clock.
ALTER TABLE virtual_key ADD COLUMN booked_at INTEGER;

CREATE INDEX virtual_key_by_time ON virtual_key (coalesce(booked_at, created_at)) WHERE run <> '';

-- The tokens that a hold counts for: those that were told; the most that they can be while it is in flight or its end
-- is uncertain, and for good where somebody's word closed it at a cost, which tells no tokens. A usage that lies is cut
-- where it could no longer be added up.
CREATE VIEW hold_tokens AS
SELECT h.seq AS hold, h.key, h.booked_at, h.prompt_bound + h.output_limit AS bound,
    min(1000000000000, CASE
        WHEN c.id IS NULL THEN h.prompt_bound + h.output_limit
        WHEN (c.kind = 'uncertain' OR c.uncertain_delta > 0) AND r.spent_delta IS NOT 0
            THEN max(h.prompt_bound + h.output_limit, c.input + c.cache_read + c.write_5m + c.write_1h + c.output)
        ELSE c.input + c.cache_read + c.write_5m + c.write_1h + c.output
    END) AS tokens
FROM hold AS h
JOIN movement AS m ON m.hold = h.seq AND m.kind = 'sent'
LEFT JOIN movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
LEFT JOIN movement AS r ON r.hold = h.seq AND r.kind = 'reconciled';

-- A movement changes what its hold counts for: the old number goes, the new one comes. Until it closes it is the most
-- that it can be; only what closes later, by somebody's word, must be asked what it was.
CREATE TRIGGER movement_uncounts BEFORE INSERT ON movement
WHEN NEW.kind = 'reconciled' AND EXISTS (SELECT 1 FROM tally)
BEGIN
    UPDATE tally SET used = used - (SELECT t.tokens FROM hold_tokens AS t WHERE t.hold = NEW.hold)
    WHERE id IN (
        SELECT y.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN tally AS y ON y.scope = s.scope AND y.kind = 'tokens'
            AND y.ends_at > h.booked_at AND y.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;

CREATE TRIGGER movement_counts AFTER INSERT ON movement
WHEN NEW.kind <> 'shrunk' AND EXISTS (SELECT 1 FROM tally)
BEGIN
    UPDATE tally SET used = used + (
        SELECT t.tokens - CASE
            WHEN NEW.kind IN ('sent', 'reconciled') THEN 0
            ELSE min(1000000000000, t.bound)
        END
        FROM hold_tokens AS t WHERE t.hold = NEW.hold
    )
    WHERE id IN (
        SELECT y.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN tally AS y ON y.scope = s.scope AND y.kind = 'tokens'
            AND y.ends_at > h.booked_at AND y.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;

-- A request that is sent is taken out of its scopes' requests a minute, what an answer used out of their tokens. Both
-- are cut where whole numbers would end, far beyond what any provider sells: a usage that lies may not stop a settlement.
CREATE TRIGGER movement_takes AFTER INSERT ON movement
WHEN EXISTS (SELECT 1 FROM bucket)
    AND (NEW.kind = 'sent' OR NEW.input + NEW.write_5m + NEW.write_1h + NEW.output > 0)
BEGIN
    UPDATE bucket SET
        level = max(-4000000000000000000, CASE
            WHEN NEW.wall <= at THEN level
            WHEN (value * 60000000 - level) / max(value, 1) < NEW.wall - at THEN value * 60000000
            ELSE min(value * 60000000, level + value * (NEW.wall - at))
        END - 60000000 * CASE kind
            WHEN 'rpm' THEN 1
            ELSE min(10000000000, NEW.input + NEW.write_5m + NEW.write_1h + NEW.output)
        END),
        at = NEW.wall,
        taken = taken + CASE kind
            WHEN 'rpm' THEN 1
            ELSE min(10000000000, NEW.input + NEW.write_5m + NEW.write_1h + NEW.output)
        END
    WHERE kind = CASE NEW.kind WHEN 'sent' THEN 'rpm' ELSE 'tpm' END AND scope IN (
        SELECT s.scope FROM hold AS h JOIN key_scope AS s ON s.key = h.key WHERE h.seq = NEW.hold
    );
END;

-- What was said stays said.
CREATE TRIGGER beside_change_stays BEFORE UPDATE ON beside_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never changed'); END;
CREATE TRIGGER beside_change_is_kept BEFORE DELETE ON beside_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never deleted'); END;
CREATE TRIGGER virtual_key_time_stays BEFORE UPDATE OF booked_at ON virtual_key
BEGIN SELECT RAISE(ABORT, 'a key''s time is never changed'); END;
