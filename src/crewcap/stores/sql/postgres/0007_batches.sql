-- Batch jobs: their holds belong to a boot of their own, `batch-...`, that no process's end ends. A provider takes
-- batches beside its rate limits, so what a batch sends and uses is not taken out of anybody's requests and tokens a
-- minute, nor is it in flight as others are; it counts in money and in tokens of a window like everything else.

-- A gateway begins, and buries those whose lock is free. A batch is no gateway.
CREATE OR REPLACE FUNCTION crewcap.start_boot(new_boot text, host text, pid bigint, asked jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    other text;
BEGIN
    FOR other IN SELECT b.id FROM crewcap.boot AS b
        WHERE b.ended_at IS NULL AND b.id NOT LIKE 'batch-%' ORDER BY b.id
    LOOP
        IF pg_try_advisory_xact_lock(crewcap.lock_of(other)) THEN
            PERFORM crewcap.lose_boot(other, clock, 'the gateway died before the answer was complete');
        END IF;
    END LOOP;
    INSERT INTO crewcap.boot (id, host, pid, started_at) VALUES (new_boot, host, pid, clock.wall);
    RETURN crewcap.told(clock, 'null');
END $$;

-- Holds of a scope that are in flight, but for those of batches.
CREATE OR REPLACE FUNCTION crewcap.open_in(of_scope text) RETURNS TABLE (hold bigint) LANGUAGE sql STABLE AS $$
    SELECT f.hold FROM (
        SELECT o.hold, (
            SELECT k.scopes FROM crewcap.hold AS h JOIN crewcap.virtual_key AS k ON k.id = h.key WHERE h.seq = o.hold
        ) AS scopes
        FROM crewcap.open_hold AS o WHERE NOT o.closed AND o.boot NOT LIKE 'batch-%'
        OFFSET 0
    ) AS f
    WHERE of_scope = ANY (f.scopes)
$$;

-- Whether a request may be sent now as far as rates and counts go; no rate counts a batch's.
CREATE OR REPLACE FUNCTION crewcap.beside_no(wanted jsonb, of_scopes text[], clock crewcap.moment) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    r record;
    c record;
    busy jsonb := '[]';
    needed bigint := (wanted ->> 'prompt_bound')::bigint + (wanted ->> 'output_limit')::bigint;
    more bigint;
    most bigint;
BEGIN
    PERFORM crewcap.open_tallies(of_scopes, clock, false);
    FOR r IN SELECT * FROM crewcap.rates(of_scopes, clock) AS f
        WHERE wanted ->> 'boot' NOT LIKE 'batch-%'
        ORDER BY array_position(of_scopes, f.scope), f.kind
    LOOP
        IF r.at > clock.wall THEN  -- a clock that was set back: the bucket goes on from now
            UPDATE crewcap.bucket AS b SET at = clock.wall WHERE b.scope = r.scope AND b.kind = r.kind;
        END IF;
        more := CASE r.kind
            WHEN 'tpm' THEN 1 - r.level
            WHEN 'rpm' THEN 60000000 - r.level
            ELSE r.flying - r.value + 1
        END;
        IF more > 0 THEN
            busy := busy || jsonb_build_array(jsonb_build_array(r.scope, r.kind, r.value, r.level));
        END IF;
    END LOOP;
    FOR c IN SELECT * FROM crewcap.counts(of_scopes, clock) AS f
        WHERE f.kind <> 'runs'
        ORDER BY f.kind, array_position(of_scopes, f.scope), f."window", f.starts_at  -- hours, then tokens: fewer may do
    LOOP
        most := CASE c.kind WHEN 'hours' THEN c.value * 3600 - 1 ELSE c.value END;
        more := CASE c.kind WHEN 'tokens' THEN needed ELSE 0 END;
        CONTINUE WHEN c.used + more <= most;
        IF more > 0 THEN
            IF c.used - crewcap.tokens_in_flight(c.scope, c.starts_at, c.ends_at) + more <= most THEN
                busy := busy || jsonb_build_array(jsonb_build_array(c.scope, c.kind, c.value, NULL));
                CONTINUE;
            END IF;
        END IF;
        RETURN jsonb_build_object('denied', 'count_limit', 'count', crewcap.count_told(c), 'needed', more);
    END LOOP;
    RETURN CASE WHEN busy <> '[]' THEN jsonb_build_object('busy', busy) END;
END $$;

-- What a movement changes beside money.
CREATE OR REPLACE FUNCTION crewcap.count_beside(it crewcap.movement, scopes text[], booked_at bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    told numeric := it.input::numeric + it.cache_read + it.write_5m + it.write_1h + it.output;
    fresh bigint := least(10000000000, it.input::numeric + it.write_5m + it.write_1h + it.output)::bigint;
    before bigint := 0;
    counts bigint;
    takes text := CASE it.kind WHEN 'sent' THEN 'rpm' ELSE 'tpm' END;
BEGIN
    IF it.kind <> 'shrunk' AND EXISTS (SELECT FROM crewcap.tally) THEN
        SELECT t.tokens INTO before FROM crewcap.hold_tokens AS t WHERE t.hold = it.hold;
        SELECT CASE it.kind
            WHEN 'sent' THEN crewcap.tokens(h.prompt_bound + h.output_limit, NULL, 0, 0, NULL)
            WHEN 'reconciled' THEN crewcap.tokens(
                h.prompt_bound + h.output_limit, c.kind, c.uncertain_delta,
                c.input::numeric + c.cache_read + c.write_5m + c.write_1h + c.output, it.spent_delta
            )
            ELSE crewcap.tokens(h.prompt_bound + h.output_limit, it.kind, it.uncertain_delta, told, NULL)
        END INTO counts
        FROM crewcap.hold AS h
        LEFT JOIN crewcap.movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
        WHERE h.seq = it.hold;
        UPDATE crewcap.tally AS t SET used = t.used + counts - coalesce(before, 0)
        WHERE t.kind = 'tokens' AND t.scope = ANY (count_beside.scopes)
            AND t.ends_at > count_beside.booked_at AND t.starts_at <= count_beside.booked_at;
    END IF;
    IF takes = 'rpm' OR fresh > 0 THEN
        UPDATE crewcap.bucket AS b SET
            level = greatest(-4000000000000000000, crewcap.filled(b.value, b.level, b.at, it.wall)
                - 60000000 * CASE takes WHEN 'rpm' THEN 1 ELSE fresh END),
            at = it.wall,
            taken = b.taken + CASE takes WHEN 'rpm' THEN 1 ELSE fresh END
        WHERE b.kind = takes AND b.scope = ANY (count_beside.scopes)
            AND NOT EXISTS (SELECT FROM crewcap.hold AS h WHERE h.seq = it.hold AND h.boot LIKE 'batch-%');
    END IF;
END $$;

-- The owner of a batch's holds, once.
CREATE FUNCTION crewcap.start_batch(batch text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    INSERT INTO crewcap.boot (id, host, pid, started_at) VALUES (batch, '', 0, clock.wall) ON CONFLICT DO NOTHING;
    RETURN crewcap.told(clock, 'null');
END $$;

-- Nothing more will be heard of a batch: what it still holds is uncertain.
CREATE FUNCTION crewcap.end_batch(batch text, reason text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    lost bigint;
BEGIN
    SELECT count(*) INTO lost FROM crewcap.open_hold AS o WHERE o.boot = batch AND NOT o.closed;
    PERFORM crewcap.lose_boot(batch, clock, reason);
    RETURN crewcap.told(clock, to_jsonb(lost));
END $$;

-- What batches may hold of each window of these scopes, and what they do; each as a balance is told.
CREATE FUNCTION crewcap.parts_of_batches(of_scopes text[], share bigint, clock crewcap.moment) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        b.scope, b."window", b.label, div(b.limit_nano::numeric * share, 100)::bigint, 0, 0, (
            SELECT coalesce(sum(o.held), 0)::bigint
            FROM crewcap.open_hold AS o
            JOIN crewcap.hold AS h ON h.seq = o.hold
            JOIN crewcap.virtual_key AS k ON k.id = h.key
            WHERE NOT o.closed AND o.boot LIKE 'batch-%' AND b.scope = ANY (k.scopes)
                AND h.booked_at >= b.starts_at AND h.booked_at < b.ends_at
        ), b.ends_at, 'batches', 0
    ) ORDER BY array_position(of_scopes, b.scope), b."window", b.starts_at), '[]')
    FROM crewcap.budget AS b
    WHERE b.scope = ANY (of_scopes[2:]) AND b.ends_at > clock.at AND b.starts_at <= clock.at
$$;

-- Decide the orders of one batch, all on one key, on the disk together: `share` per cent of every limit but the key's own
-- is what batches may hold.
CREATE FUNCTION crewcap.reserve_batch(orders jsonb, share bigint, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    its_scopes text[];
    parts jsonb;
    wanted jsonb;
    is_made boolean;
    decision jsonb;
    decisions jsonb := '[]';
BEGIN
    IF clock.is_stale OR clock.known <> '' OR clock.doubt <> '' THEN
        RETURN crewcap.told(clock, CASE WHEN clock.is_stale THEN NULL ELSE decisions END);
    END IF;
    SELECT k.scopes INTO its_scopes FROM crewcap.virtual_key AS k WHERE k.id = orders -> 0 ->> 'key';
    PERFORM crewcap.open_windows(coalesce(its_scopes, '{}'), clock);
    parts := crewcap.parts_of_batches(its_scopes, share, clock);
    FOR wanted IN SELECT value FROM jsonb_array_elements(orders) LOOP
        is_made := EXISTS (SELECT FROM crewcap.hold AS h WHERE h.id = wanted ->> 'hold');
        IF NOT is_made AND EXISTS (
            SELECT FROM jsonb_array_elements(parts) AS p
            WHERE (p.value ->> 6)::bigint + (wanted ->> 'amount')::bigint > (p.value ->> 3)::bigint
        ) THEN
            decision := jsonb_build_object('balances', parts);
        ELSE
            decision := crewcap.decide(wanted, clock);
            IF decision IS NULL AND NOT is_made THEN
                SELECT coalesce(jsonb_agg(jsonb_set(
                    p.value, '{6}', to_jsonb((p.value ->> 6)::bigint + (wanted ->> 'amount')::bigint)
                ) ORDER BY p.ordinality), '[]') INTO parts
                FROM jsonb_array_elements(parts) WITH ORDINALITY AS p;
            END IF;
        END IF;
        decisions := decisions || jsonb_build_array(decision);
    END LOOP;
    RETURN crewcap.told(clock, decisions);
END $$;
