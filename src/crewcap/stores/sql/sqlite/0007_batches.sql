-- Batch jobs: their holds belong to a boot of their own, `batch-...`, that no process's end ends. A provider takes
-- batches beside its rate limits, so what a batch sends and uses is not taken out of anybody's requests and tokens a
-- minute; it counts in money and in tokens of a window like everything else.

DROP TRIGGER movement_takes;

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
