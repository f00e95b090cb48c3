-- Corrections: what a request cost is booked once, at the prices that were known then; where these were wrong, what it
-- should have cost is booked beside it as a movement of its own. Nothing is edited; a request may be corrected again.
--
--   settled -> [corrected]*      the difference alone, in the windows of the request, whatever their limits say
--
-- Never on money that is in flight, uncertain, closed by somebody's word, or paid by a plan: no price made these.

ALTER TABLE crewcap.movement DROP CONSTRAINT movement_kind_check;
ALTER TABLE crewcap.movement ADD CONSTRAINT movement_kind_check CHECK (kind IN (
    'sent', 'shrunk', 'settled', 'released', 'uncertain', 'reconciled', 'corrected'
));

-- Each kind once, but for corrections.
DROP INDEX crewcap.movement_once;
CREATE UNIQUE INDEX movement_once
ON crewcap.movement (hold, kind, (CASE kind WHEN 'corrected' THEN id ELSE 0 END));

DROP TRIGGER movement_law ON crewcap.movement;
CREATE TRIGGER movement_law BEFORE INSERT ON crewcap.movement FOR EACH ROW
WHEN (NEW.kind <> 'corrected') EXECUTE FUNCTION crewcap.movement_law();

-- A correction changes what a price made, and never below nothing. It has no tokens, and so no part in what limits beside
-- money count.
CREATE FUNCTION crewcap.movement_corrects() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    it record;
BEGIN
    PERFORM crewcap.take_book();
    SELECT h.booked_at, k.scopes,
        NEW.held_delta = 0 AND NEW.uncertain_delta = 0 AND NEW.notional_delta = 0 AND NEW.spent_delta <> 0
            AND bool_or(m.kind = 'settled' AND m.notional_delta = 0) AND NOT bool_or(m.kind = 'reconciled')
            AND NOT EXISTS (SELECT FROM crewcap.open_hold AS o WHERE o.hold = NEW.hold)
            AND NEW.spent_delta + sum(m.spent_delta) >= 0 AS follows
    INTO it
    FROM crewcap.hold AS h
    JOIN crewcap.virtual_key AS k ON k.id = h.key
    JOIN crewcap.movement AS m ON m.hold = h.seq
    WHERE h.seq = NEW.hold
    GROUP BY h.seq, k.seq;
    IF it.follows IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'CC003',
            MESSAGE = 'this correction does not follow from what its hold is';
    END IF;
    UPDATE crewcap.budget AS b SET spent = b.spent + NEW.spent_delta
    WHERE b.scope = ANY (it.scopes) AND b.ends_at > it.booked_at AND b.starts_at <= it.booked_at;
    SELECT m.id, m.at INTO it FROM crewcap.movement AS m ORDER BY m.id DESC LIMIT 1;
    IF NEW.at < it.at THEN
        RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'time in the books never falls';
    END IF;
    NEW.id := it.id + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER movement_corrects BEFORE INSERT ON crewcap.movement FOR EACH ROW
WHEN (NEW.kind = 'corrected') EXECUTE FUNCTION crewcap.movement_corrects();

-- Book what was computed: each only where its request still costs what it was computed from.
CREATE FUNCTION crewcap.correct_many(corrections jsonb, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    wanted jsonb;
    booked jsonb := '[]';
BEGIN
    FOR wanted IN SELECT value FROM jsonb_array_elements(corrections) LOOP
        INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, card, reason)
        SELECT h.seq, 'corrected', 0, 0, c.after - c.before, clock.at, clock.wall, c.card, c.reason
        FROM jsonb_to_record(wanted) AS c (hold text, before bigint, after bigint, card text, reason text)
        JOIN crewcap.hold AS h ON h.id = c.hold
        WHERE c.after <> c.before
            AND c.before = (SELECT sum(m.spent_delta) FROM crewcap.movement AS m WHERE m.hold = h.seq);
        booked := booked || to_jsonb(FOUND);
    END LOOP;
    RETURN crewcap.told(clock, booked);
END $$;

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request, and what was corrected later, are lines of their own with the model of that request; a correction has the
-- card that it was made by. `size` is how many of the sizes it is above at which some price list has a price of its own
-- for long prompts; `core.bundles.SIZES` are these.
CREATE OR REPLACE VIEW crewcap.told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    width_bucket(
        m.input + m.cache_read + m.write_5m + m.write_1h - 1,
        '{32000,100000,128000,199999,200000,256000,272000,512000,524288}'::bigint[]
    )::bigint AS size,
    (m.notional_delta <> 0) AS by_plan, (h.agent <> '') AS subagent, m.pieces::text AS pieces,
    (m.kind NOT IN ('reconciled', 'corrected'))::int::bigint AS requests, m.spent_delta AS spent,
    m.uncertain_delta AS uncertain, m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output,
    m.thinking
FROM crewcap.movement AS m
JOIN crewcap.hold AS h ON h.seq = m.hold
LEFT JOIN crewcap.movement AS c
    ON m.kind IN ('reconciled', 'corrected') AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled', 'corrected');

-- Price cards that something was settled at, in full, so that a price can be told however many price books later.
CREATE TABLE crewcap.card (
    id       text PRIMARY KEY,
    document text NOT NULL,  -- JSON, as `core.cards` writes it
    book     text NOT NULL,  -- hash of the price book that it was first seen in
    at       bigint NOT NULL
);

CREATE TRIGGER card_stays BEFORE UPDATE OR DELETE ON crewcap.card
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER card_is_kept BEFORE TRUNCATE ON crewcap.card
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();

-- What was asked for and refused because nobody had a price of it. Beside the books; some may be missing.
CREATE TABLE crewcap.unpriced (
    provider text NOT NULL,
    model    text NOT NULL,
    requests bigint NOT NULL,
    last_at  bigint NOT NULL,
    message  text NOT NULL,  -- of the last one
    PRIMARY KEY (provider, model)
);
