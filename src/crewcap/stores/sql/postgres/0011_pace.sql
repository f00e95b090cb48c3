-- The same books with less work for each request: what has ended and what is asked for next are one call, one round trip
-- and one transaction. `settle_and_reserve` stands in place of `reserve_many`.

DROP PROCEDURE crewcap.reserve_many(jsonb, jsonb, text);

-- Ends of holds, one after the other: true = closed by this, false = it was closed before.
CREATE FUNCTION crewcap.settle_each(ends jsonb, clock crewcap.moment) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    ended jsonb;
    closed jsonb := '[]';
BEGIN
    FOR ended IN SELECT value FROM jsonb_array_elements(ends) LOOP
        -- a cost above its hold is booked in full: it happened. It is an incident, said here if nobody else did.
        INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, notional_delta, at, wall,
            input, cache_read, write_5m, write_1h, output, thinking, pieces, model, card, request_id, status, reason,
            incident, raw_usage)
        SELECT o.hold, e.kind, -o.held, e.uncertain, e.spent, e.notional, clock.at, clock.wall, e.input, e.cache_read,
            e.write_5m, e.write_1h, e.output, e.thinking, e.pieces, e.model, e.card, e.request_id, e.status, e.reason,
            CASE WHEN e.incident = '' AND e.spent + e.uncertain > o.held
                THEN crewcap.above(e.spent + e.uncertain - o.held) ELSE e.incident END,
            e.raw_usage
        FROM jsonb_to_record(ended) AS e (
            hold text, kind text, spent bigint, uncertain bigint, notional bigint, input bigint, cache_read bigint,
            write_5m bigint, write_1h bigint, output bigint, thinking bigint, pieces jsonb, model text, card text,
            request_id text, status bigint, reason text, incident text, raw_usage text
        )
        JOIN crewcap.hold AS h ON h.id = e.hold
        JOIN crewcap.open_hold AS o ON o.hold = h.seq AND NOT o.closed;
        closed := closed || to_jsonb(FOUND);
        IF NOT FOUND AND NOT EXISTS (SELECT FROM crewcap.hold AS h WHERE h.id = ended ->> 'hold') THEN
            RAISE EXCEPTION USING ERRCODE = 'CC001', MESSAGE = format('hold %s is not in the ledger', ended ->> 'hold');
        END IF;
    END LOOP;
    RETURN closed;
END $$;

CREATE OR REPLACE FUNCTION crewcap.settle_many(ends jsonb, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
BEGIN
    SET LOCAL synchronous_commit = off;
    clock := crewcap.look_to_write(asked);
    RETURN crewcap.told(clock, crewcap.settle_each(ends, clock));
END $$;

-- Ends, whatever the clock says; then orders, decided one after the other, on the disk together. The book's lock is given
-- back by the commit, which does not wait for the disk; `flush` does, so that others decide meanwhile and one flush
-- serves all who wait for it. Nothing is promised before it: whoever sees a hold that is not on the disk yet writes
-- behind it in the log, and is on the disk after it.
CREATE PROCEDURE crewcap.settle_and_reserve(ends jsonb, orders jsonb, asked jsonb, INOUT answer text)
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
    wanted jsonb;
    closed jsonb;
    decisions jsonb := '[]';
    decision jsonb;
    is_written boolean := false;
BEGIN
    SET LOCAL synchronous_commit = off;
    clock := crewcap.look_to_write(asked);
    IF NOT clock.is_stale THEN
        closed := crewcap.settle_each(ends, clock);
        IF clock.known = '' AND clock.doubt = '' THEN
            FOR wanted IN SELECT value FROM jsonb_array_elements(orders) LOOP
                decision := crewcap.decide(wanted, clock);
                is_written := is_written OR decision IS NULL;
                decisions := decisions || jsonb_build_array(decision);
            END LOOP;
        END IF;
    END IF;
    answer := crewcap.told(clock, CASE WHEN NOT clock.is_stale THEN jsonb_build_array(closed, decisions) END);
    COMMIT;
    IF is_written THEN
        PERFORM crewcap.flush();
    END IF;
END $$;
