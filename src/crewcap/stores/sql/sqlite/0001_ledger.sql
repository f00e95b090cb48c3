-- The books. Money moves only by a row appended to `movement`; everything that limits is checked here as well.
--
--   facts, append-only    virtual_key  key_scope  limit_change  hold  movement  refusal
--   derived from them     limit_in_force  budget  open_hold          (`crewcap ledger verify` recomputes all three)
--
-- A hold belongs to a key, and a key's scopes never change, so every hold has all its scopes, limited or not.
-- Money is nano-dollars, instants are microseconds since 1970 in UTC; both are integers and every table is STRICT.

-- Who these books are, the calendar that they use, and whether their clock is trusted.
CREATE TABLE ledger (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    uuid              TEXT NOT NULL,
    made_at           INTEGER NOT NULL,
    zone              TEXT NOT NULL,
    clock_doubt       TEXT NOT NULL DEFAULT '',    -- why paid requests are refused until somebody accepts the clock
    clock_accepts     INTEGER NOT NULL DEFAULT 0,  -- rises with each word that the clock is right
    clock_accepted_at INTEGER NOT NULL DEFAULT 0,
    copied_at         INTEGER                      -- set in a backup: entries after it are missing from this copy
) STRICT;

-- One life of one gateway; it is over when its lock file is free.
CREATE TABLE boot (
    id         TEXT PRIMARY KEY,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX boot_living ON boot (id) WHERE ended_at IS NULL;

-- Virtual keys, by hash; only `revoked_at` may change, once.
CREATE TABLE virtual_key (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    hash       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    models     TEXT NOT NULL,  -- JSON array
    max_output INTEGER,
    max_turns  INTEGER,
    capped     INTEGER NOT NULL CHECK (capped IN (0, 1)),
    run        TEXT NOT NULL,
    label      TEXT NOT NULL
) STRICT;

-- What a key's money is spent for, from itself to everything. (The primary key's columns stand first: otherwise SQLite
-- 3.40's integrity_check reports NULLs that are not there.)
CREATE TABLE key_scope (
    key   TEXT NOT NULL REFERENCES virtual_key (id),
    scope TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (key, scope)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_scope_by_scope ON key_scope (scope, key);

-- What was said of limits, by whom; a null amount takes back what that source said.
CREATE TABLE limit_change (
    id         INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL CHECK (window IN ('total', 'day', 'week', 'month')),
    source     TEXT NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    limit_nano INTEGER CHECK (limit_nano >= 0),
    at         INTEGER NOT NULL
) STRICT;

CREATE INDEX limit_change_by_scope ON limit_change (scope, window, source, id);

-- The limit that counts for a scope and a window: the strongest source's newest word.
CREATE TABLE limit_in_force (
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL,
    limit_nano INTEGER NOT NULL,
    source     TEXT NOT NULL,
    version    INTEGER NOT NULL,  -- the change that made it so
    PRIMARY KEY (scope, window)
) STRICT, WITHOUT ROWID;

-- A limit in one window of the calendar and what has become of it. Rows exist only where a limit is in force.
CREATE TABLE budget (
    id         INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL,
    label      TEXT NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    limit_nano INTEGER NOT NULL,
    spent      INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    uncertain  INTEGER NOT NULL,
    UNIQUE (scope, window, label)
) STRICT;

CREATE INDEX budget_by_end ON budget (scope, window, ends_at);

-- One request's promise of money, as it was made.
CREATE TABLE hold (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    boot         TEXT NOT NULL REFERENCES boot (id),
    key          TEXT NOT NULL REFERENCES virtual_key (id),
    booked_at    INTEGER NOT NULL,  -- window time: all its movements count in the windows of this instant
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    provider     TEXT NOT NULL,
    model        TEXT NOT NULL,
    book         TEXT NOT NULL,
    prompt_bound INTEGER NOT NULL,
    output_limit INTEGER NOT NULL,
    asked_output INTEGER NOT NULL,
    agent        TEXT NOT NULL,
    parent_agent TEXT NOT NULL,
    notes        TEXT NOT NULL      -- JSON array
) STRICT;

CREATE INDEX hold_by_key ON hold (key);
CREATE INDEX hold_by_time ON hold (booked_at);

-- Money moving between held, uncertain and spent.
CREATE TABLE movement (
    id              INTEGER PRIMARY KEY,
    hold            INTEGER NOT NULL REFERENCES hold (seq),
    kind            TEXT NOT NULL CHECK (kind IN ('sent', 'shrunk', 'settled', 'released', 'uncertain', 'reconciled')),
    held_delta      INTEGER NOT NULL,
    uncertain_delta INTEGER NOT NULL,
    spent_delta     INTEGER NOT NULL,
    notional_delta  INTEGER NOT NULL DEFAULT 0,  -- what a subscription would have cost; counts against no limit
    at              INTEGER NOT NULL,            -- window time, never falling
    wall            INTEGER NOT NULL,            -- the clock as it was trusted then
    input           INTEGER NOT NULL DEFAULT 0,
    cache_read      INTEGER NOT NULL DEFAULT 0,
    write_5m        INTEGER NOT NULL DEFAULT 0,
    write_1h        INTEGER NOT NULL DEFAULT 0,
    output          INTEGER NOT NULL DEFAULT 0,
    thinking        INTEGER NOT NULL DEFAULT 0,
    pieces          TEXT NOT NULL DEFAULT '{}',  -- JSON object
    model           TEXT NOT NULL DEFAULT '',    -- as answered
    card            TEXT NOT NULL DEFAULT '',
    request_id      TEXT NOT NULL DEFAULT '',
    status          INTEGER NOT NULL DEFAULT 0,
    reason          TEXT NOT NULL DEFAULT '',
    incident        TEXT NOT NULL DEFAULT '',
    raw_usage       TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX movement_once ON movement (hold, kind);

-- Holds that are in flight, or closed with money that nobody proved.
CREATE TABLE open_hold (
    hold      INTEGER PRIMARY KEY REFERENCES hold (seq),
    boot      TEXT NOT NULL,
    held      INTEGER NOT NULL,
    uncertain INTEGER NOT NULL,
    shrunk    INTEGER NOT NULL,
    closed    INTEGER NOT NULL
) STRICT;

-- Requests that were not sent because money or a key said no.
CREATE TABLE refusal (
    id      INTEGER PRIMARY KEY,
    key     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    model   TEXT NOT NULL,
    needed  INTEGER NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE INDEX refusal_by_key ON refusal (key);

-- THE FENCE. Only a growing `held` is checked: lowering a limit, a hold that becomes uncertain and a settlement above
-- its hold tell what already is, and a ledger that refuses to hear it would only be wrong.
CREATE TRIGGER budget_fence BEFORE UPDATE OF held ON budget
WHEN NEW.held > OLD.held AND NEW.spent + NEW.uncertain + NEW.held > NEW.limit_nano
BEGIN
    SELECT RAISE(ABORT, 'the fence: this hold would take a budget over its limit');
END;

-- A limit without its row would be no fence: a hold may be booked only when every limit on its scopes has one.
CREATE TRIGGER movement_meets_every_limit BEFORE INSERT ON movement
WHEN NEW.kind = 'sent' AND EXISTS (
    SELECT 1
    FROM hold AS h
    JOIN key_scope AS s ON s.key = h.key
    JOIN limit_in_force AS l ON l.scope = s.scope
    WHERE h.seq = NEW.hold AND NOT EXISTS (
        SELECT 1 FROM budget AS b
        WHERE b.scope = l.scope AND b.window = l.window AND b.ends_at > h.booked_at AND b.starts_at <= h.booked_at
    )
)
BEGIN
    SELECT RAISE(ABORT, 'the fence: a limit of this hold has no budget row');
END;

CREATE TRIGGER movement_opens_its_hold BEFORE INSERT ON movement
WHEN NEW.kind = 'sent' AND NOT EXISTS (
    SELECT 1 FROM hold AS h
    WHERE h.seq = NEW.hold AND h.amount = NEW.held_delta AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0
)
BEGIN
    SELECT RAISE(ABORT, 'a hold is opened with the amount that it was made for');
END;

-- sent -> [shrunk] -> settled | released | uncertain -> [reconciled]; each once, each moving exactly what is there.
CREATE TRIGGER movement_follows BEFORE INSERT ON movement
WHEN NEW.kind <> 'sent' AND NOT EXISTS (
    SELECT 1 FROM open_hold AS o
    WHERE o.hold = NEW.hold AND CASE NEW.kind
        WHEN 'shrunk' THEN
            NOT o.closed AND NOT o.shrunk AND NEW.held_delta BETWEEN -o.held AND -1
            AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0
        WHEN 'reconciled' THEN
            o.closed AND NEW.held_delta = 0 AND NEW.uncertain_delta = -o.uncertain AND NEW.spent_delta >= 0
        ELSE
            NOT o.closed AND NEW.held_delta = -o.held AND NEW.uncertain_delta >= 0 AND NEW.spent_delta >= 0
    END
)
BEGIN
    SELECT RAISE(ABORT, 'this movement does not follow from what its hold is');
END;

CREATE TRIGGER movement_opens AFTER INSERT ON movement
WHEN NEW.kind = 'sent'
BEGIN
    INSERT INTO open_hold (hold, boot, held, uncertain, shrunk, closed)
    SELECT h.seq, h.boot, NEW.held_delta, 0, 0, 0 FROM hold AS h WHERE h.seq = NEW.hold;
END;

CREATE TRIGGER movement_changes AFTER INSERT ON movement
WHEN NEW.kind <> 'sent'
BEGIN
    UPDATE open_hold SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        shrunk = shrunk OR NEW.kind = 'shrunk',
        closed = closed OR NEW.kind <> 'shrunk'
    WHERE hold = NEW.hold;
    DELETE FROM open_hold WHERE hold = NEW.hold AND closed AND uncertain = 0;
END;

-- Every budget of the hold's scopes whose window contains the instant that the hold was booked at, whenever this is.
CREATE TRIGGER movement_books AFTER INSERT ON movement
BEGIN
    UPDATE budget SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        spent = spent + NEW.spent_delta
    WHERE id IN (
        SELECT b.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN budget AS b ON b.scope = s.scope AND b.window IN ('total', 'day', 'week', 'month')
            AND b.ends_at > h.booked_at AND b.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;

-- What was booked stays booked.
CREATE TRIGGER hold_stays BEFORE UPDATE ON hold
BEGIN SELECT RAISE(ABORT, 'holds are never changed'); END;
CREATE TRIGGER hold_is_kept BEFORE DELETE ON hold
BEGIN SELECT RAISE(ABORT, 'holds are never deleted'); END;
CREATE TRIGGER key_scope_stays BEFORE UPDATE ON key_scope
BEGIN SELECT RAISE(ABORT, 'the scopes of a key are never changed'); END;
CREATE TRIGGER key_scope_is_kept BEFORE DELETE ON key_scope
BEGIN SELECT RAISE(ABORT, 'the scopes of a key are never deleted'); END;
CREATE TRIGGER movement_stays BEFORE UPDATE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never changed'); END;
CREATE TRIGGER movement_is_kept BEFORE DELETE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never deleted'); END;
CREATE TRIGGER limit_change_stays BEFORE UPDATE ON limit_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never changed'); END;
CREATE TRIGGER limit_change_is_kept BEFORE DELETE ON limit_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never deleted'); END;
CREATE TRIGGER refusal_stays BEFORE UPDATE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are never changed'); END;
CREATE TRIGGER refusal_is_kept BEFORE DELETE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are never deleted'); END;
CREATE TRIGGER virtual_key_is_kept BEFORE DELETE ON virtual_key
BEGIN SELECT RAISE(ABORT, 'keys are revoked, never deleted'); END;
CREATE TRIGGER virtual_key_stays BEFORE UPDATE ON virtual_key
WHEN OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
    OR NEW.hash <> OLD.hash OR NEW.created_at <> OLD.created_at OR NEW.expires_at IS NOT OLD.expires_at
    OR NEW.models <> OLD.models OR NEW.max_output IS NOT OLD.max_output OR NEW.max_turns IS NOT OLD.max_turns
    OR NEW.capped <> OLD.capped OR NEW.run <> OLD.run OR NEW.label <> OLD.label
BEGIN SELECT RAISE(ABORT, 'a key may only be revoked, once'); END;
