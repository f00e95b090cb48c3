-- What reports add up, added up beforehand: closed requests by the quarter of an hour that they were booked in. Nothing
-- of this is written while a request is on its way: whoever reads a report of a large ledger catches up first, a piece at
-- a time. It is derived from movements 1 to `bundled.through`, and `crewcap ledger verify` computes it again.

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request is a line of its own with the model and card of that request. `size` is how many of the sizes it is above at
-- which some price list has a price of its own for long prompts; `core.bundles.SIZES` are these.
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
    m.kind <> 'reconciled' AS requests, m.spent_delta AS spent, m.uncertain_delta AS uncertain,
    m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking
FROM movement AS m
JOIN hold AS h ON h.seq = m.hold
LEFT JOIN movement AS c ON m.kind = 'reconciled' AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled');

CREATE TABLE bundle (
    quarter    INTEGER NOT NULL,  -- of an hour, since 1970
    key        TEXT NOT NULL,
    provider   TEXT NOT NULL,
    model      TEXT NOT NULL,
    card       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    by_plan    INTEGER NOT NULL,
    subagent   INTEGER NOT NULL,
    pieces     TEXT NOT NULL,     -- of each of its requests
    requests   INTEGER NOT NULL,
    spent      INTEGER NOT NULL,
    uncertain  INTEGER NOT NULL,
    notional   INTEGER NOT NULL,
    input      INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    write_5m   INTEGER NOT NULL,
    write_1h   INTEGER NOT NULL,
    output     INTEGER NOT NULL,
    thinking   INTEGER NOT NULL,
    PRIMARY KEY (quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces)
) STRICT, WITHOUT ROWID;

CREATE INDEX bundle_by_key ON bundle (key);

-- How far it goes.
CREATE TABLE bundled (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    through INTEGER NOT NULL  -- the newest movement that is in it
) STRICT;

INSERT INTO bundled (one, through) VALUES (1, 0);

-- What prompts were made of, in tokens: the share of each part's letters, applied to the tokens that were billed. An
-- estimate, beside the books: rows are added to when requests have ended, and some may be missing.
CREATE TABLE makeup (
    virtual_key  TEXT NOT NULL,
    quarter      INTEGER NOT NULL,
    model        TEXT NOT NULL,
    requests     INTEGER NOT NULL,
    tools        INTEGER NOT NULL,  -- definitions
    instructions INTEGER NOT NULL,  -- the system prompt
    prompts      INTEGER NOT NULL,  -- what people said
    files        INTEGER NOT NULL,  -- what was read, as far as its tools are known to read
    results      INTEGER NOT NULL,  -- of all other tools
    history      INTEGER NOT NULL,  -- what the model had said, thought and called before
    PRIMARY KEY (virtual_key, quarter, model)
) STRICT, WITHOUT ROWID;

CREATE INDEX makeup_by_time ON makeup (quarter);
