-- A prompt is told apart by the limits of the very card that it was settled at, where that card has one that the view
-- `told` does not know: a price list may begin a tier wherever it likes. `size` is then 100 and how many of the card's
-- own limits the prompt is above; `core.bundles.rates_of` reads both. A card is kept a moment after the first request
-- that was settled at it: what was added up without it is added up again by the next report.

-- The limits of cards of which one at least is none of `core.bundles.SIZES`: all limits of such a card.
CREATE TABLE card_tier (
    card  TEXT NOT NULL,
    above INTEGER NOT NULL,  -- tokens of a prompt
    PRIMARY KEY (card, above)
) STRICT, WITHOUT ROWID;

INSERT INTO card_tier
SELECT DISTINCT c.id, json_extract(t.value, '$.above')
FROM card AS c, json_each(c.document, '$.tiers') AS t
WHERE EXISTS (
    SELECT 1 FROM json_each(c.document, '$.tiers') AS o
    WHERE json_extract(o.value, '$.above') NOT IN (
        32000, 100000, 128000, 199999, 200000, 256000, 272000, 512000, 524288
    )
);

CREATE TRIGGER card_tells_its_tiers AFTER INSERT ON card
WHEN EXISTS (
    SELECT 1 FROM json_each(NEW.document, '$.tiers') AS o
    WHERE json_extract(o.value, '$.above') NOT IN (
        32000, 100000, 128000, 199999, 200000, 256000, 272000, 512000, 524288
    )
)
BEGIN
    INSERT INTO card_tier SELECT DISTINCT NEW.id, json_extract(t.value, '$.above') FROM json_each(NEW.document, '$.tiers') AS t;
    UPDATE bundled SET through = 0 WHERE EXISTS (SELECT 1 FROM bundle WHERE card = NEW.id);
    DELETE FROM bundle WHERE (SELECT through FROM bundled) = 0;
END;

UPDATE bundled SET through = 0 WHERE EXISTS (SELECT 1 FROM bundle WHERE card IN (SELECT card FROM card_tier));
DELETE FROM bundle WHERE (SELECT through FROM bundled) = 0;

DROP VIEW told;

-- Every movement that tells what became of a request's money, as reports see it. What was said later of an uncertain
-- request, and what was corrected later, are lines of their own with the model of that request; a correction has the
-- card that it was made by. `size` is how many sizes its prompt is above: those of its card, if that is in `card_tier`;
-- else those at which some price list has a price of its own for long prompts, which are `core.bundles.SIZES`.
CREATE VIEW told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    coalesce(
        (
            SELECT 100 + sum(m.input + m.cache_read + m.write_5m + m.write_1h > t.above) FROM card_tier AS t
            WHERE t.card = coalesce(nullif(m.card, ''), c.card, '')
        ),
        (m.input + m.cache_read + m.write_5m + m.write_1h > 32000) + (m.input + m.cache_read + m.write_5m + m.write_1h > 100000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 128000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 199999)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 200000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 256000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 272000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 512000)
            + (m.input + m.cache_read + m.write_5m + m.write_1h > 524288)
    ) AS size,
    m.notional_delta <> 0 AS by_plan, h.agent <> '' AS subagent, m.pieces,
    m.kind NOT IN ('reconciled', 'corrected') AS requests, m.spent_delta AS spent, m.uncertain_delta AS uncertain,
    m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking
FROM movement AS m
JOIN hold AS h ON h.seq = m.hold
LEFT JOIN movement AS c
    ON m.kind IN ('reconciled', 'corrected') AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled', 'corrected');
