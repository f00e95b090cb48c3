-- A prompt is told apart by the limits of the very card that it was settled at, where that card has one that the view
-- `told` does not know: a price list may begin a tier wherever it likes. `size` is then 100 and how many of the card's
-- own limits the prompt is above; `core.bundles.rates_of` reads both. A card is kept a moment after the first request
-- that was settled at it: what was added up without it is added up again by the next report.

-- The limits of cards of which one at least is none of `core.bundles.SIZES`: all limits of such a card.
CREATE TABLE crewcap.card_tier (
    card  text NOT NULL,
    above bigint NOT NULL,  -- tokens of a prompt
    PRIMARY KEY (card, above)
);

-- The limits of a card, where there is one among them that is none of those sizes.
CREATE FUNCTION crewcap.odd_tiers(document text) RETURNS SETOF bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT DISTINCT (t ->> 'above')::bigint FROM jsonb_array_elements(document::jsonb -> 'tiers') AS t
    WHERE EXISTS (
        SELECT FROM jsonb_array_elements(document::jsonb -> 'tiers') AS o
        WHERE (o ->> 'above')::bigint <> ALL (
            '{32000,100000,128000,199999,200000,256000,272000,512000,524288}'::bigint[]
        )
    )
$$;

-- Whoever adds up holds the row of `bundled`: nothing is added up beside this that does not know the card.
CREATE FUNCTION crewcap.card_tells_its_tiers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crewcap.card_tier SELECT NEW.id, above FROM crewcap.odd_tiers(NEW.document) AS above;
    IF FOUND THEN
        PERFORM FROM crewcap.bundled FOR UPDATE;
        IF EXISTS (SELECT FROM crewcap.bundle WHERE card = NEW.id) THEN
            DELETE FROM crewcap.bundle;
            UPDATE crewcap.bundled SET through = 0;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER card_tells_its_tiers AFTER INSERT ON crewcap.card
FOR EACH ROW EXECUTE FUNCTION crewcap.card_tells_its_tiers();

INSERT INTO crewcap.card_tier
SELECT c.id, o.above FROM crewcap.card AS c CROSS JOIN LATERAL crewcap.odd_tiers(c.document) AS o (above);
UPDATE crewcap.bundled SET through = 0
WHERE EXISTS (SELECT FROM crewcap.bundle WHERE card IN (SELECT card FROM crewcap.card_tier));
DELETE FROM crewcap.bundle WHERE (SELECT through FROM crewcap.bundled) = 0;

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request, and what was corrected later, are lines of their own with the model of that request; a correction has the
-- card that it was made by. `size` is how many sizes its prompt is above: those of its card, if that is in `card_tier`;
-- else those at which some price list has a price of its own for long prompts, which are `core.bundles.SIZES`.
CREATE OR REPLACE VIEW crewcap.told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    coalesce(
        (
            SELECT 100 + count(*) FILTER (WHERE m.input + m.cache_read + m.write_5m + m.write_1h > t.above)
            FROM crewcap.card_tier AS t WHERE t.card = coalesce(nullif(m.card, ''), c.card, '')
            HAVING count(*) > 0
        ),
        width_bucket(
            m.input + m.cache_read + m.write_5m + m.write_1h - 1,
            '{32000,100000,128000,199999,200000,256000,272000,512000,524288}'::bigint[]
        )
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
