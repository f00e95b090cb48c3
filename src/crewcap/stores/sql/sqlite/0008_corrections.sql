-- Corrections: what a request cost is booked once, at the prices that were known then; where these were wrong, what it
-- should have cost is booked beside it as a movement of its own. Nothing is edited; a request may be corrected again.
--
--   settled -> [corrected]*      the difference alone, in the windows of the request, whatever their limits say
--
-- Never on money that is in flight, uncertain, closed by somebody's word, or paid by a plan: no price made these.
--
-- SQLite cannot change what a CHECK says, so the table of movements is written anew, row by row, under the same numbers.
-- Everything that hangs on it is made again as it was, but for the lines that tell of corrections.

DROP VIEW told;
DROP VIEW hold_tokens;
DROP TRIGGER movement_meets_every_limit;
DROP TRIGGER movement_opens_its_hold;
DROP TRIGGER movement_follows;
DROP TRIGGER movement_opens;
DROP TRIGGER movement_changes;
DROP TRIGGER movement_books;
DROP TRIGGER movement_stays;
DROP TRIGGER movement_is_kept;
DROP TRIGGER movement_uncounts;
DROP TRIGGER movement_counts;
DROP TRIGGER movement_takes;
DROP INDEX movement_once;
ALTER TABLE movement RENAME TO movement_before;

-- Money moving between held, uncertain and spent.
CREATE TABLE movement (
    id              INTEGER PRIMARY KEY,
    hold            INTEGER NOT NULL REFERENCES hold (seq),
    kind            TEXT NOT NULL CHECK (kind IN (
        'sent', 'shrunk', 'settled', 'released', 'uncertain', 'reconciled', 'corrected'
    )),
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

INSERT INTO movement SELECT * FROM movement_before ORDER BY id;
DROP TABLE movement_before;

-- Each kind once, but for corrections.
CREATE UNIQUE INDEX movement_once ON movement (hold, kind, CASE kind WHEN 'corrected' THEN id ELSE 0 END);

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
WHEN NEW.kind NOT IN ('sent', 'corrected') AND NOT EXISTS (
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

-- A correction changes what a price made, and never below nothing.
CREATE TRIGGER movement_corrects BEFORE INSERT ON movement
WHEN NEW.kind = 'corrected' AND NOT (
    NEW.held_delta = 0 AND NEW.uncertain_delta = 0 AND NEW.notional_delta = 0 AND NEW.spent_delta <> 0
    AND EXISTS (SELECT 1 FROM movement AS c WHERE c.hold = NEW.hold AND c.kind = 'settled' AND c.notional_delta = 0)
    AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.hold = NEW.hold AND r.kind = 'reconciled')
    AND NOT EXISTS (SELECT 1 FROM open_hold AS o WHERE o.hold = NEW.hold)
    AND NEW.spent_delta + (SELECT sum(m.spent_delta) FROM movement AS m WHERE m.hold = NEW.hold) >= 0
)
BEGIN
    SELECT RAISE(ABORT, 'this correction does not follow from what its hold is');
END;

CREATE TRIGGER movement_opens AFTER INSERT ON movement
WHEN NEW.kind = 'sent'
BEGIN
    INSERT INTO open_hold (hold, boot, held, uncertain, shrunk, closed)
    SELECT h.seq, h.boot, NEW.held_delta, 0, 0, 0 FROM hold AS h WHERE h.seq = NEW.hold;
END;

CREATE TRIGGER movement_changes AFTER INSERT ON movement
WHEN NEW.kind NOT IN ('sent', 'corrected')
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

CREATE TRIGGER movement_stays BEFORE UPDATE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never changed'); END;
CREATE TRIGGER movement_is_kept BEFORE DELETE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never deleted'); END;

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
-- that it can be; only what closes later, by somebody's word, must be asked what it was. A correction tells no tokens.
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
WHEN NEW.kind NOT IN ('shrunk', 'corrected') AND EXISTS (SELECT 1 FROM tally)
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
        SELECT s.scope FROM hold AS h JOIN key_scope AS s ON s.key = h.key
        WHERE h.seq = NEW.hold AND h.boot NOT LIKE 'batch-%'
    );
END;

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request, and what was corrected later, are lines of their own with the model of that request; a correction has the
-- card that it was made by. `size` is how many of the sizes it is above at which some price list has a price of its own
-- for long prompts; `core.bundles.SIZES` are these.
CREATE VIEW told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    (m.input + m.cache_read + m.write_5m + m.write_1h > 32000) + (m.input + m.cache_read + m.write_5m + m.write_1h > 100000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 128000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 199999)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 200000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 256000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 272000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 512000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 524288) AS size,
    m.notional_delta <> 0 AS by_plan, h.agent <> '' AS subagent, m.pieces,
    m.kind NOT IN ('reconciled', 'corrected') AS requests, m.spent_delta AS spent, m.uncertain_delta AS uncertain,
    m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking
FROM movement AS m
JOIN hold AS h ON h.seq = m.hold
LEFT JOIN movement AS c
    ON m.kind IN ('reconciled', 'corrected') AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled', 'corrected');

-- Price cards that something was settled at, in full, so that a price can be told however many price books later.
CREATE TABLE card (
    id       TEXT PRIMARY KEY,
    document TEXT NOT NULL,  -- JSON, as `core.cards` writes it
    book     TEXT NOT NULL,  -- hash of the price book that it was first seen in
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER card_stays BEFORE UPDATE ON card
BEGIN SELECT RAISE(ABORT, 'cards are never changed'); END;
CREATE TRIGGER card_is_kept BEFORE DELETE ON card
BEGIN SELECT RAISE(ABORT, 'cards are never deleted'); END;

-- What was asked for and refused because nobody had a price of it. Beside the books; some may be missing.
CREATE TABLE unpriced (
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    requests INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    message  TEXT NOT NULL,  -- of the last one
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
