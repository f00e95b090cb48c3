-- What reports add up, added up beforehand: closed requests by the quarter of an hour that they were booked in. Nothing
-- of this is written while a request is on its way: whoever reads a report of a large ledger catches up first, a piece at
-- a time. It is derived from movements 1 to `bundled.through`, and `crewcap ledger verify` computes it again.

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request is a line of its own with the model and card of that request. `size` is how many of the sizes it is above at
-- which some price list has a price of its own for long prompts; `core.bundles.SIZES` are these.
CREATE VIEW crewcap.told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    width_bucket(
        m.input + m.cache_read + m.write_5m + m.write_1h - 1,
        '{32000,100000,128000,199999,200000,256000,272000,512000,524288}'::bigint[]
    )::bigint AS size,
    (m.notional_delta <> 0) AS by_plan, (h.agent <> '') AS subagent, m.pieces::text AS pieces,
    (m.kind <> 'reconciled')::int::bigint AS requests, m.spent_delta AS spent, m.uncertain_delta AS uncertain,
    m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking
FROM crewcap.movement AS m
JOIN crewcap.hold AS h ON h.seq = m.hold
LEFT JOIN crewcap.movement AS c
    ON m.kind = 'reconciled' AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled');

CREATE TABLE crewcap.bundle (
    quarter    bigint NOT NULL,  -- of an hour, since 1970
    key        text NOT NULL,
    provider   text NOT NULL,
    model      text NOT NULL,
    card       text NOT NULL,
    kind       text NOT NULL,
    size       bigint NOT NULL,
    by_plan    boolean NOT NULL,
    subagent   boolean NOT NULL,
    pieces     text NOT NULL,    -- of each of its requests
    requests   bigint NOT NULL,
    spent      bigint NOT NULL,
    uncertain  bigint NOT NULL,
    notional   bigint NOT NULL,
    input      bigint NOT NULL,
    cache_read bigint NOT NULL,
    write_5m   bigint NOT NULL,
    write_1h   bigint NOT NULL,
    output     bigint NOT NULL,
    thinking   bigint NOT NULL,
    PRIMARY KEY (quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces)
);

CREATE INDEX bundle_by_key ON crewcap.bundle (key);

-- How far it goes.
CREATE TABLE crewcap.bundled (
    one     integer PRIMARY KEY CHECK (one = 1),
    through bigint NOT NULL  -- the newest movement that is in it
);

INSERT INTO crewcap.bundled (one, through) VALUES (1, 0);

-- What prompts were made of, in tokens: the share of each part's letters, applied to the tokens that were billed. An
-- estimate, beside the books: rows are added to when requests have ended, and some may be missing.
CREATE TABLE crewcap.makeup (
    virtual_key  text NOT NULL,
    quarter      bigint NOT NULL,
    model        text NOT NULL,
    requests     bigint NOT NULL,
    tools        bigint NOT NULL,  -- definitions
    instructions bigint NOT NULL,  -- the system prompt
    prompts      bigint NOT NULL,  -- what people said
    files        bigint NOT NULL,  -- what was read, as far as its tools are known to read
    results      bigint NOT NULL,  -- of all other tools
    history      bigint NOT NULL,  -- what the model had said, thought and called before
    PRIMARY KEY (virtual_key, quarter, model)
);

CREATE INDEX makeup_by_time ON crewcap.makeup (quarter);
