-- What crewcap asks for, each in one round trip. Whoever asks gives the time by its own clock (`asked`) and gets the
-- time by the database's with the answer: {"now": {...}, "is_stale": false, "answer": ...}. Where the calendar that was
-- given is not today's, nothing is done, and the answer says that it is stale.

-- The time of one transaction, and whether the clock may be trusted with money.
CREATE TYPE crewcap.moment AS (
    zone     text,     -- of the calendar
    at       bigint,   -- window time: never before the newest movement
    wall     bigint,   -- the clock as it is trusted
    doubt    text,     -- why whoever asks doubts it, empty = it does not
    known    text,     -- why all of them doubt it
    accepts  bigint,   -- how often somebody had accepted it
    labels   text[],   -- of the day, the week and the month that was given
    bounds   bigint[], -- where they begin and end
    is_stale boolean   -- these are not today's
);

CREATE FUNCTION crewcap.shown(at bigint) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT to_char(to_timestamp(at / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC' $$;

-- The database's clock rules. Whoever asks says what it should show by its own monotonic clock (`expected`, null at its
-- first look), how often it had been accepted by then, and why it doubted it, if it did; and the newest movement that
-- its marker saw, and when. `fixed` stands for the clock where a test moves time.
CREATE FUNCTION crewcap.look(asked jsonb) RETURNS crewcap.moment LANGUAGE plpgsql AS $$
DECLARE
    it record;
    clock crewcap.moment;
BEGIN
    SELECT l.zone, greatest(a.raw, n.at) AS at, a.raw AS wall, '' AS doubt, l.clock_doubt AS known,
        greatest(a.accepts, l.clock_accepts) AS accepts, a.labels, a.bounds,
        a.zone IS DISTINCT FROM l.zone OR greatest(a.raw, n.at) < a.bounds[1] OR greatest(a.raw, n.at) >= a.bounds[2]
            AS is_stale,
        a.expected, a.doubted, n.id AS newest, n.at AS newest_at, n.wall AS newest_wall,
        l.clock_accepts > a.accepts AS is_accepted, a.seen, a.seen_at
    INTO it
    FROM crewcap.ledger AS l
    CROSS JOIN LATERAL (
        SELECT coalesce(
                (asked ->> 'fixed')::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
            ) AS raw,
            (asked ->> 'expected')::bigint AS expected, (asked ->> 'accepts')::bigint AS accepts,
            asked ->> 'doubt' AS doubted, (asked ->> 'seen')::bigint AS seen, (asked ->> 'seen_at')::bigint AS seen_at,
            asked ->> 'zone' AS zone, ARRAY[asked ->> 'day', asked ->> 'week', asked ->> 'month'] AS labels,
            ARRAY[
                (asked ->> 'day_from')::bigint, (asked ->> 'day_to')::bigint, (asked ->> 'week_from')::bigint,
                (asked ->> 'week_to')::bigint, (asked ->> 'month_from')::bigint, (asked ->> 'month_to')::bigint
            ] AS bounds
        OFFSET 0
    ) AS a
    LEFT JOIN LATERAL (
        SELECT m.id, m.at, m.wall FROM crewcap.movement AS m ORDER BY m.id DESC LIMIT 1
    ) AS n ON true;
    clock := (it.zone, it.at, it.wall, '', it.known, it.accepts, it.labels, it.bounds, it.is_stale);
    IF it.doubted = '' AND abs(it.wall - it.expected) <= 600000000 OR it.is_accepted AND it.expected IS NOT NULL THEN
        RETURN clock;  -- as it should be, or by somebody's word
    END IF;
    IF it.expected IS NULL THEN
        clock := crewcap.first_look(
            clock, CASE WHEN it.newest IS NULL THEN NULL WHEN it.seen >= it.newest THEN it.seen_at ELSE it.newest_wall END
        );
    ELSE
        clock.wall := it.expected;
        clock.doubt := CASE WHEN it.doubted <> '' THEN it.doubted ELSE format(
            'the clock jumped: it should show %s and shows %s', crewcap.shown(it.expected), crewcap.shown(it.wall)
        ) END;
    END IF;
    clock.at := greatest(clock.wall, it.newest_at);
    clock.is_stale := asked ->> 'zone' IS DISTINCT FROM clock.zone OR clock.bounds[1] IS NULL
        OR clock.at < clock.bounds[1] OR clock.at >= clock.bounds[2];
    RETURN clock;
END $$;

-- At the first look the clock is believed unless all doubt it, or it is far from the newest instant on record.
CREATE FUNCTION crewcap.first_look(clock crewcap.moment, recorded bigint) RETURNS crewcap.moment
LANGUAGE plpgsql AS $$
BEGIN
    IF clock.known <> '' THEN
        clock.doubt := clock.known;
    ELSIF abs(clock.wall - recorded) > 129600000000 THEN  -- 36 hours
        clock.doubt := format(
            'the clock shows %s, more than 36 hours from the newest instant on record, %s',
            crewcap.shown(clock.wall), crewcap.shown(recorded)
        );
    END IF;
    IF clock.doubt <> '' THEN
        clock.wall := coalesce(recorded, clock.wall);
    END IF;
    RETURN clock;
END $$;

-- The time to write at: under the book's lock, and from here on all processes know of a doubt.
CREATE FUNCTION crewcap.look_to_write(asked jsonb) RETURNS crewcap.moment LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
BEGIN
    PERFORM pg_advisory_xact_lock(1128489328, 0);
    clock := crewcap.look(asked);
    IF clock.doubt <> '' AND clock.known = '' THEN
        UPDATE crewcap.ledger SET clock_doubt = clock.doubt;
    END IF;
    RETURN clock;
END $$;

-- An answer, as every call gives it; none where the calendar was stale and so nothing was done.
CREATE FUNCTION crewcap.told(clock crewcap.moment, answer jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'now', jsonb_build_object(
            'zone', clock.zone, 'at', clock.at, 'wall', clock.wall, 'doubt', clock.doubt, 'known', clock.known,
            'accepts', clock.accepts
        ),
        'is_stale', answer IS NULL, 'answer', answer
    )::text
$$;

-- The windows that an instant falls in.
CREATE FUNCTION crewcap.calendar(clock crewcap.moment)
RETURNS TABLE ("window" text, label text, starts_at bigint, ends_at bigint) LANGUAGE sql IMMUTABLE AS $$
    VALUES ('total', 'total', 0::bigint, 253370764800000000::bigint),
        ('day', clock.labels[1], clock.bounds[1], clock.bounds[2]),
        ('week', clock.labels[2], clock.bounds[3], clock.bounds[4]),
        ('month', clock.labels[3], clock.bounds[5], clock.bounds[6])
$$;

-- BALANCES ------------------------------------------------------------------------------------------------------------

-- What a scope has become in a window, from the movements alone: everything that was booked in it, whenever it moved.
CREATE FUNCTION crewcap.sums(
    of_scope text, of_window text, from_at bigint, to_at bigint,
    OUT spent bigint, OUT uncertain bigint, OUT held bigint
) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(m.spent_delta), 0)::bigint, coalesce(sum(m.uncertain_delta), 0)::bigint,
        coalesce(sum(m.held_delta), 0)::bigint
    FROM crewcap.virtual_key AS k
    JOIN crewcap.hold AS h ON h.key = k.id
    JOIN crewcap.movement AS m ON m.hold = h.seq
    WHERE k.scopes @> ARRAY[of_scope]
        AND (of_window = 'total' OR (h.booked_at >= from_at AND h.booked_at < to_at))
$$;

-- Every limit in force (on these scopes; null = on all) with its rows at an instant, one in each of two zones where the
-- calendar's zone is new. Of a window that has no row yet, what its row would say.
CREATE FUNCTION crewcap.balances(of_scopes text[], clock crewcap.moment)
RETURNS TABLE (
    scope text, "window" text, label text, limit_nano bigint, spent bigint, uncertain bigint, held bigint,
    starts_at bigint, ends_at bigint, source text, version bigint, is_made boolean
) LANGUAGE sql STABLE AS $$
    SELECT l.scope, l."window", b.label, l.limit_nano, b.spent, b.uncertain, b.held, b.starts_at, b.ends_at, l.source,
        l.version, true
    FROM crewcap.limit_in_force AS l
    JOIN crewcap.budget AS b ON b.scope = l.scope AND b."window" = l."window"
        AND b.ends_at > clock.at AND b.starts_at <= clock.at
    WHERE of_scopes IS NULL OR l.scope = ANY (of_scopes)
    UNION ALL
    SELECT n.scope, n."window", n.label, n.limit_nano, s.spent, s.uncertain, s.held, n.starts_at, n.ends_at, n.source,
        n.version, false
    FROM (
        SELECT l.scope, l."window", l.limit_nano, l.source, l.version, c.label, c.starts_at, c.ends_at
        FROM crewcap.limit_in_force AS l
        JOIN crewcap.calendar(clock) AS c ON c."window" = l."window"
        WHERE (of_scopes IS NULL OR l.scope = ANY (of_scopes)) AND NOT EXISTS (
            SELECT FROM crewcap.budget AS b
            WHERE b.scope = l.scope AND b."window" = l."window" AND b.label = c.label
        )
        OFFSET 0  -- sums are dear: only of what has no row
    ) AS n
    CROSS JOIN LATERAL crewcap.sums(n.scope, n."window", n.starts_at, n.ends_at) AS s
$$;

-- Make the rows of windows that have none yet; each begins with what the movements say.
CREATE FUNCTION crewcap.open_windows(of_scopes text[], clock crewcap.moment) RETURNS void LANGUAGE sql AS $$
    INSERT INTO crewcap.budget (scope, "window", label, starts_at, ends_at, limit_nano, spent, uncertain, held)
    SELECT n.scope, n."window", n.label, n.starts_at, n.ends_at, n.limit_nano, n.spent, n.uncertain, n.held
    FROM crewcap.balances(of_scopes, clock) AS n
    WHERE NOT n.is_made
$$;

-- Balances as they are told.
CREATE FUNCTION crewcap.balances_told(of_scopes text[], clock crewcap.moment) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        b.scope, b."window", b.label, b.limit_nano, b.spent, b.uncertain, b.held, b.ends_at, b.source, b.version
    ) ORDER BY array_position(of_scopes, b.scope), b.scope, b."window", b.starts_at), '[]')
    FROM crewcap.balances(of_scopes, clock) AS b
$$;

-- Every limit in force for a key; null = all there are.
CREATE FUNCTION crewcap.read_balances(of_key text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look(asked);
    its_scopes text[];
BEGIN
    IF clock.is_stale THEN
        RETURN crewcap.told(clock, NULL);
    END IF;
    IF of_key IS NOT NULL THEN
        SELECT coalesce(max(k.scopes), '{}') INTO its_scopes FROM crewcap.virtual_key AS k WHERE k.id = of_key;
    END IF;
    RETURN crewcap.told(clock, crewcap.balances_told(its_scopes, clock));
END $$;

-- RATES AND COUNTS ----------------------------------------------------------------------------------------------------

-- Holds of a scope that are in flight: looked up from those that are open, never from all that ever were. (OFFSET 0 keeps
-- the planner from turning this round.)
CREATE FUNCTION crewcap.open_in(of_scope text) RETURNS TABLE (hold bigint) LANGUAGE sql STABLE AS $$
    SELECT f.hold FROM (
        SELECT o.hold, (
            SELECT k.scopes FROM crewcap.hold AS h JOIN crewcap.virtual_key AS k ON k.id = h.key WHERE h.seq = o.hold
        ) AS scopes
        FROM crewcap.open_hold AS o WHERE NOT o.closed
        OFFSET 0
    ) AS f
    WHERE of_scope = ANY (f.scopes)
$$;

-- Tokens of a scope in a window, from holds and movements alone.
CREATE FUNCTION crewcap.tokens_in(of_scope text, of_window text, from_at bigint, to_at bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(t.tokens), 0)::bigint
    FROM crewcap.virtual_key AS k
    JOIN crewcap.hold_tokens AS t ON t.key = k.id
    WHERE k.scopes @> ARRAY[of_scope]
        AND (of_window = 'total' OR (t.booked_at >= from_at AND t.booked_at < to_at))
$$;

-- Those of them that requests in flight may still give back.
CREATE FUNCTION crewcap.tokens_in_flight(of_scope text, from_at bigint, to_at bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(t.tokens), 0)::bigint
    FROM crewcap.open_in(of_scope) AS o
    CROSS JOIN LATERAL (
        SELECT crewcap.tokens(h.prompt_bound + h.output_limit, NULL, 0, 0, NULL) AS tokens
        FROM crewcap.hold AS h
        WHERE h.seq = o.hold AND h.booked_at >= from_at AND h.booked_at < to_at
        OFFSET 0
    ) AS t
$$;

-- Whether a run was counted in a scope and a window: those that a key was made for in it.
CREATE FUNCTION crewcap.run_is_counted(of_run text, of_scope text, from_at bigint, to_at bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM crewcap.virtual_key AS k
        WHERE k.run = of_run AND k.run <> '' AND of_scope = ANY (k.scopes)
            AND k.booked_at >= from_at AND k.booked_at < to_at
    )
$$;

-- What was used of a count: runs, the seconds that the keys of runs lived until now, tokens.
CREATE FUNCTION crewcap.used(
    of_kind text, of_scope text, of_window text, from_at bigint, to_at bigint, now_at bigint
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF of_kind = 'tokens' THEN
        RETURN crewcap.tokens_in(of_scope, of_window, from_at, to_at);
    ELSIF of_kind = 'runs' THEN
        RETURN (
            SELECT count(DISTINCT k.run) FROM crewcap.virtual_key AS k
            WHERE k.run <> '' AND k.scopes @> ARRAY[of_scope] AND k.booked_at >= from_at AND k.booked_at < to_at
        );
    END IF;
    RETURN (
        SELECT coalesce(sum(greatest(0,
            least(coalesce(k.revoked_at, to_at), coalesce(k.expires_at, to_at), to_at, now_at)
                - greatest(k.booked_at, from_at)
        )), 0)::bigint / 1000000
        FROM crewcap.virtual_key AS k
        WHERE k.run <> '' AND k.scopes @> ARRAY[of_scope]
    );
END $$;

-- Every count in force (on these scopes; null = on all) in every window that this instant falls in: its rows, and that
-- of today's calendar where there is none yet.
CREATE FUNCTION crewcap.counts(of_scopes text[], clock crewcap.moment)
RETURNS TABLE (
    scope text, kind text, "window" text, value bigint, source text, version bigint, label text, starts_at bigint,
    ends_at bigint, used bigint, is_made boolean
) LANGUAGE sql STABLE AS $$
    SELECT l.scope, l.kind, l."window", l.value, l.source, l.version, t.label, t.starts_at, t.ends_at,
        CASE l.kind
            WHEN 'tokens' THEN t.used
            ELSE crewcap.used(l.kind, l.scope, l."window", t.starts_at, t.ends_at, clock.at)
        END, true
    FROM crewcap.beside_in_force AS l
    JOIN crewcap.tally AS t ON t.scope = l.scope AND t.kind = l.kind AND t."window" = l."window"
        AND t.ends_at > clock.at AND t.starts_at <= clock.at
    WHERE l."window" <> '' AND (of_scopes IS NULL OR l.scope = ANY (of_scopes))
    UNION ALL
    SELECT n.scope, n.kind, n."window", n.value, n.source, n.version, n.label, n.starts_at, n.ends_at,
        crewcap.used(n.kind, n.scope, n."window", n.starts_at, n.ends_at, clock.at), false
    FROM (
        SELECT l.scope, l.kind, l."window", l.value, l.source, l.version, c.label, c.starts_at, c.ends_at
        FROM crewcap.beside_in_force AS l
        JOIN crewcap.calendar(clock) AS c ON c."window" = l."window"
        WHERE (of_scopes IS NULL OR l.scope = ANY (of_scopes)) AND NOT EXISTS (
            SELECT FROM crewcap.tally AS t
            WHERE t.scope = l.scope AND t.kind = l.kind AND t."window" = l."window" AND t.label = c.label
        )
        OFFSET 0  -- the same
    ) AS n
$$;

-- Make the rows of counts that have none yet: of tokens on first use, of all before the calendar's zone changes.
CREATE FUNCTION crewcap.open_tallies(of_scopes text[], clock crewcap.moment, every_kind boolean) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO crewcap.tally (scope, kind, "window", label, starts_at, ends_at, used)
    SELECT n.scope, n.kind, n."window", n.label, n.starts_at, n.ends_at, CASE n.kind WHEN 'tokens' THEN n.used ELSE 0 END
    FROM crewcap.counts(of_scopes, clock) AS n
    WHERE NOT n.is_made AND (every_kind OR n.kind = 'tokens')
$$;

-- A count as it is told.
CREATE FUNCTION crewcap.count_told(c record) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_array(
        c.scope, c.kind, c."window", c.label, c.value, c.used, c.ends_at, c.source, c.version
    );
END $$;

-- Every rate in force (on these scopes), and what is free of it: the level of its bucket, or how many are in flight.
CREATE FUNCTION crewcap.rates(of_scopes text[], clock crewcap.moment)
RETURNS TABLE (
    scope text, kind text, value bigint, source text, version bigint, level bigint, flying bigint, at bigint
) LANGUAGE sql STABLE AS $$
    SELECT l.scope, l.kind, l.value, l.source, l.version, crewcap.filled(b.value, b.level, b.at, clock.wall),
        CASE WHEN b.scope IS NULL THEN (SELECT count(*) FROM crewcap.open_in(l.scope)) END, b.at
    FROM crewcap.beside_in_force AS l
    LEFT JOIN crewcap.bucket AS b ON b.scope = l.scope AND b.kind = l.kind
    WHERE l."window" = '' AND (of_scopes IS NULL OR l.scope = ANY (of_scopes))
$$;

-- Whether a request may be sent now as far as rates and counts go; null = it may. A count that is used up denies it; of
-- rates that have no room, and of tokens that only requests in flight hold, all are told: it may come again.
CREATE FUNCTION crewcap.beside_no(wanted jsonb, of_scopes text[], clock crewcap.moment) RETURNS jsonb
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

-- Rates and counts in force on these scopes; null = all.
CREATE FUNCTION crewcap.read_beside(of_scopes text[], asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look(asked);
BEGIN
    IF clock.is_stale THEN
        RETURN crewcap.told(clock, NULL);
    END IF;
    RETURN crewcap.told(clock, jsonb_build_object(
        'rates', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                r.scope, r.kind, r.value, r.level, r.flying, r.source, r.version
            ) ORDER BY r.scope, r.kind), '[]')
            FROM crewcap.rates(of_scopes, clock) AS r
        ),
        'counts', (
            SELECT coalesce(jsonb_agg(
                crewcap.count_told(c) ORDER BY c.scope, c.kind, c."window", c.starts_at
            ), '[]')
            FROM crewcap.counts(of_scopes, clock) AS c
        )
    ));
END $$;

-- HOLDS ---------------------------------------------------------------------------------------------------------------

-- Decide one order; null = granted and written, else what says no. What is plain (a key that lives and has no turns to
-- count, no limit beside money, room in every budget) is seen in one look; `decide_slowly` asks everything by itself.
CREATE FUNCTION crewcap.decide(wanted jsonb, clock crewcap.moment) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    is_plain boolean;
    refused jsonb;
BEGIN
    SELECT m.rows_now = m.limits AND m.is_short IS NOT TRUE INTO is_plain
    FROM crewcap.virtual_key AS k
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE b.label = 'total' OR b.label = ANY (clock.labels)) AS rows_now,
            (SELECT count(*) FROM crewcap.limit_in_force AS l WHERE l.scope = ANY (k.scopes)) AS limits,
            bool_or(
                (wanted ->> 'amount')::bigint + CASE
                    WHEN b."window" = 'total' AND b.scope LIKE 'run:%' THEN (wanted ->> 'keep')::bigint ELSE 0
                END > greatest(0, b.limit_nano - b.spent - b.uncertain - b.held)
            ) AS is_short
        FROM crewcap.budget AS b
        WHERE b.scope = ANY (k.scopes) AND b.ends_at > clock.at AND b.starts_at <= clock.at
    ) AS m
    WHERE k.id = wanted ->> 'key' AND k.revoked_at IS NULL AND k.max_turns IS NULL
        AND (k.expires_at > clock.at) IS NOT FALSE AND (k.models = '{}' OR wanted ->> 'model' = ANY (k.models))
        AND EXISTS (SELECT FROM crewcap.boot AS b WHERE b.id = wanted ->> 'boot' AND b.ended_at IS NULL)
        AND NOT EXISTS (SELECT FROM crewcap.hold AS h WHERE h.id = wanted ->> 'hold')
        AND NOT EXISTS (SELECT FROM crewcap.beside_in_force);
    IF is_plain IS NOT TRUE THEN
        refused := crewcap.decide_slowly(wanted, clock);
        IF refused IS NOT NULL THEN
            RETURN nullif(refused, 'null'::jsonb);
        END IF;
    END IF;
    WITH made AS (
        INSERT INTO crewcap.hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit,
            asked_output, agent, parent_agent, notes)
        VALUES (wanted ->> 'hold', wanted ->> 'boot', wanted ->> 'key', clock.at, (wanted ->> 'amount')::bigint,
            wanted ->> 'provider', wanted ->> 'model', wanted ->> 'book', (wanted ->> 'prompt_bound')::bigint,
            (wanted ->> 'output_limit')::bigint, (wanted ->> 'asked_output')::bigint, wanted ->> 'agent',
            wanted ->> 'parent_agent', wanted -> 'notes')
        RETURNING seq, amount
    )
    INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)
    SELECT made.seq, 'sent', made.amount, 0, 0, clock.at, clock.wall FROM made;
    RETURN NULL;
END $$;

-- Why an order may not be granted; null = it may, JSON's null = it was before: the same order again, after an answer
-- that was lost. Rows of windows that are not there yet are made.
CREATE FUNCTION crewcap.decide_slowly(wanted jsonb, clock crewcap.moment) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    of_key text := wanted ->> 'key';
    amount bigint := (wanted ->> 'amount')::bigint;
    keep bigint := (wanted ->> 'keep')::bigint;
    made record;
    holder record;
    beside jsonb;
BEGIN
    SELECT h.key, h.amount, h.boot INTO made FROM crewcap.hold AS h WHERE h.id = wanted ->> 'hold';
    IF FOUND THEN
        IF (made.key, made.amount, made.boot) IS DISTINCT FROM (of_key, amount, wanted ->> 'boot') THEN
            RAISE EXCEPTION USING ERRCODE = 'CC001',
                MESSAGE = format('hold %s was made before for another request', wanted ->> 'hold');
        END IF;
        RETURN 'null'::jsonb;
    END IF;

    SELECT k.scopes, k.expires_at, k.revoked_at, k.models, k.max_turns, EXISTS (
        SELECT FROM crewcap.boot AS b WHERE b.id = wanted ->> 'boot' AND b.ended_at IS NULL
    ) AS boot_lives, EXISTS (SELECT FROM crewcap.beside_in_force) AS is_limited
    INTO holder FROM crewcap.virtual_key AS k WHERE k.id = of_key;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('denied', 'key_unknown');
    ELSIF NOT holder.boot_lives THEN
        RAISE EXCEPTION USING ERRCODE = 'CC002', MESSAGE = 'this gateway''s boot has ended in the ledger';
    ELSIF holder.revoked_at IS NOT NULL THEN
        RETURN jsonb_build_object('denied', 'key_revoked', 'at', holder.revoked_at);
    ELSIF holder.expires_at <= clock.at THEN
        RETURN jsonb_build_object('denied', 'key_expired', 'at', holder.expires_at);
    ELSIF holder.models <> '{}' AND wanted ->> 'model' <> ALL (holder.models) THEN
        RETURN jsonb_build_object('denied', 'model_not_allowed', 'models', to_jsonb(holder.models));
    ELSIF holder.max_turns IS NOT NULL THEN
        IF (SELECT count(*) FROM crewcap.hold AS h WHERE h.key = of_key) >= holder.max_turns THEN
            RETURN jsonb_build_object('denied', 'turn_limit', 'turns', holder.max_turns);
        END IF;
    END IF;
    IF holder.is_limited THEN
        beside := crewcap.beside_no(wanted, holder.scopes, clock);
        IF beside ? 'denied' THEN
            RETURN beside;
        END IF;
    END IF;

    PERFORM crewcap.open_windows(holder.scopes, clock);
    IF EXISTS (
        SELECT FROM crewcap.budget AS b
        WHERE b.scope = ANY (holder.scopes) AND b.ends_at > clock.at AND b.starts_at <= clock.at
            AND amount + CASE WHEN b."window" = 'total' AND b.scope LIKE 'run:%' THEN keep ELSE 0 END
                > greatest(0, b.limit_nano - b.spent - b.uncertain - b.held)
    ) THEN
        RETURN jsonb_build_object('balances', crewcap.balances_told(holder.scopes, clock));
    END IF;
    RETURN beside;
END $$;

-- Several orders, decided one after the other, on the disk together. The book's lock is given back by the commit, which
-- does not wait for the disk; `flush` does, so that others decide meanwhile and one flush serves all who wait for it.
-- Nothing is promised before it: whoever sees a hold that is not on the disk yet writes behind it in the log, and is on
-- the disk after it.
CREATE PROCEDURE crewcap.reserve_many(orders jsonb, asked jsonb, INOUT answer text) LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
    wanted jsonb;
    decisions jsonb := '[]';
    decision jsonb;
    is_written boolean := false;
BEGIN
    SET LOCAL synchronous_commit = off;
    clock := crewcap.look_to_write(asked);
    IF clock.known = '' AND clock.doubt = '' AND NOT clock.is_stale THEN
        FOR wanted IN SELECT value FROM jsonb_array_elements(orders) LOOP
            decision := crewcap.decide(wanted, clock);
            is_written := is_written OR decision IS NULL;
            decisions := decisions || jsonb_build_array(decision);
        END LOOP;
    END IF;
    answer := crewcap.told(clock, CASE WHEN clock.is_stale THEN NULL ELSE decisions END);
    COMMIT;
    IF is_written THEN
        PERFORM crewcap.flush();
    END IF;
END $$;

-- Wait until all that this session committed is on the disk, and on the standbys' where the server has such as must
-- confirm: a message in the log, committed with a wait. From PostgreSQL 17 on, the flush alone is enough without them.
CREATE FUNCTION crewcap.flush() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000
        AND current_setting('synchronous_standby_names') = '' THEN
        PERFORM pg_logical_emit_message(false, 'crewcap', '', true);
    ELSE
        PERFORM pg_logical_emit_message(true, 'crewcap', '');
    END IF;
END $$;

-- Ends of holds, one after the other: true = closed by this, false = it was closed before.
CREATE FUNCTION crewcap.settle_many(ends jsonb, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
    ended jsonb;
    closed jsonb := '[]';
BEGIN
    SET LOCAL synchronous_commit = off;
    clock := crewcap.look_to_write(asked);
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
    RETURN crewcap.told(clock, closed);
END $$;

CREATE FUNCTION crewcap.above(nano bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT format('cost %s.%s above its hold', nano / 1000000000, lpad((nano % 1000000000)::text, 9, '0'))
$$;

-- Early release: lower an open hold, once; anything else changes nothing.
CREATE FUNCTION crewcap.shrink(of_hold text, to_nano bigint, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment;
    it record;
BEGIN
    SET LOCAL synchronous_commit = off;
    clock := crewcap.look_to_write(asked);
    SELECT h.seq, o.held, o.shrunk, o.closed INTO it
    FROM crewcap.hold AS h LEFT JOIN crewcap.open_hold AS o ON o.hold = h.seq
    WHERE h.id = of_hold;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'CC001', MESSAGE = format('hold %s is not in the ledger', of_hold);
    ELSIF it.held IS NOT NULL AND NOT it.closed AND NOT it.shrunk AND to_nano >= 0 AND to_nano < it.held THEN
        INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
        VALUES (it.seq, 'shrunk', to_nano - it.held, 0, 0, clock.at, clock.wall, 'early release');
    END IF;
    RETURN crewcap.told(clock, 'null');
END $$;

-- Replace what is uncertain by what somebody says it cost; false = the hold is not uncertain.
CREATE FUNCTION crewcap.reconcile(of_hold text, cost bigint, word text, asked jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    it record;
BEGIN
    SELECT o.hold, o.uncertain INTO it
    FROM crewcap.hold AS h JOIN crewcap.open_hold AS o ON o.hold = h.seq
    WHERE h.id = of_hold AND o.closed;
    IF NOT FOUND THEN
        RETURN crewcap.told(clock, 'false');
    END IF;
    INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
    VALUES (it.hold, 'reconciled', 0, -it.uncertain, cost, clock.at, clock.wall, word);
    RETURN crewcap.told(clock, 'true');
END $$;

-- Remember a request that was not sent.
CREATE FUNCTION crewcap.note_refusal(of_key text, model text, needed bigint, message text, asked jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look(asked);
BEGIN
    SET LOCAL synchronous_commit = off;
    INSERT INTO crewcap.refusal (key, at, model, needed, message) VALUES (of_key, clock.at, model, needed, message);
    RETURN crewcap.told(clock, 'null');
END $$;

-- BOOTS ---------------------------------------------------------------------------------------------------------------

-- End a boot: what it had in flight is uncertain.
CREATE FUNCTION crewcap.lose_boot(of_boot text, clock crewcap.moment, reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason)
    SELECT o.hold, 'uncertain', -o.held, o.held, 0, clock.at, clock.wall, lose_boot.reason
    FROM crewcap.open_hold AS o WHERE o.boot = of_boot AND NOT o.closed ORDER BY o.hold;
    UPDATE crewcap.boot AS b SET ended_at = clock.wall WHERE b.id = of_boot AND b.ended_at IS NULL;
END $$;

-- The number by which a boot's session holds its lock: the boot's own sixteen hexadecimal digits.
CREATE FUNCTION crewcap.lock_of(boot text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || right(boot, 16))::bit(64)::bigint
$$;

-- A gateway begins, and buries those whose lock is free.
CREATE FUNCTION crewcap.start_boot(new_boot text, host text, pid bigint, asked jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    other text;
BEGIN
    FOR other IN SELECT b.id FROM crewcap.boot AS b WHERE b.ended_at IS NULL ORDER BY b.id LOOP
        IF pg_try_advisory_xact_lock(crewcap.lock_of(other)) THEN
            PERFORM crewcap.lose_boot(other, clock, 'the gateway died before the answer was complete');
        END IF;
    END LOOP;
    INSERT INTO crewcap.boot (id, host, pid, started_at) VALUES (new_boot, host, pid, clock.wall);
    RETURN crewcap.told(clock, 'null');
END $$;

CREATE FUNCTION crewcap.stop_boot(of_boot text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    PERFORM crewcap.lose_boot(of_boot, clock, 'the gateway stopped before the answer was complete');
    RETURN crewcap.told(clock, 'null');
END $$;

-- LIMITS AND KEYS -----------------------------------------------------------------------------------------------------

-- What one source says of money; null takes it back. False = it says so already.
CREATE FUNCTION crewcap.say_limit(
    of_scope text, of_window text, of_source text, nano bigint, asked jsonb
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    IF nano IS NOT DISTINCT FROM (
        SELECT c.limit_nano FROM crewcap.limit_change AS c
        WHERE c.scope = of_scope AND c."window" = of_window AND c.source = of_source ORDER BY c.id DESC LIMIT 1
    ) THEN
        RETURN crewcap.told(clock, 'false');
    END IF;
    INSERT INTO crewcap.limit_change (scope, "window", source, limit_nano, at)
    VALUES (of_scope, of_window, of_source, nano, clock.at);
    RETURN crewcap.told(clock, 'true');
END $$;

-- The same of a rate or a count.
CREATE FUNCTION crewcap.say_beside(
    of_scope text, of_kind text, of_window text, of_source text, new_value bigint, asked jsonb
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    IF new_value IS NOT DISTINCT FROM (
        SELECT c.value FROM crewcap.beside_change AS c
        WHERE c.scope = of_scope AND c.kind = of_kind AND c."window" = of_window AND c.source = of_source
        ORDER BY c.id DESC LIMIT 1
    ) THEN
        RETURN crewcap.told(clock, 'false');
    END IF;
    INSERT INTO crewcap.beside_change (scope, kind, "window", source, value, at, wall)
    VALUES (of_scope, of_kind, of_window, of_source, new_value, clock.at, clock.wall);
    RETURN crewcap.told(clock, 'true');
END $$;

-- What differs from what the settings file and the defaults say now. A default on an issue is brought along by its runs,
-- and stays.
CREATE FUNCTION crewcap.limits_to_say(wanted jsonb)
RETURNS TABLE (scope text, "window" text, source text, limit_nano bigint) LANGUAGE sql STABLE AS $$
    WITH said AS (
        SELECT w.scope, w."window", w.source, w.limit_nano FROM crewcap.limit_word AS w WHERE w.limit_nano IS NOT NULL
    ), asked AS (
        SELECT * FROM jsonb_to_recordset(wanted) AS f (scope text, "window" text, source text, limit_nano bigint)
    )
    SELECT s.scope, s."window", s.source, NULL::bigint
    FROM said AS s
    WHERE (s.source = 'file' OR (s.source = 'default' AND s.scope NOT LIKE 'issue:%')) AND NOT EXISTS (
        SELECT FROM asked AS a WHERE (a.scope, a."window", a.source) = (s.scope, s."window", s.source)
    )
    UNION ALL
    (SELECT a.scope, a."window", a.source, a.limit_nano FROM asked AS a
    EXCEPT SELECT s.scope, s."window", s.source, s.limit_nano FROM said AS s)
$$;

CREATE FUNCTION crewcap.besides_to_say(wanted jsonb)
RETURNS TABLE (scope text, kind text, "window" text, source text, value bigint) LANGUAGE sql STABLE AS $$
    WITH said AS (
        SELECT w.scope, w.kind, w."window", w.source, w.value FROM crewcap.beside_word AS w WHERE w.value IS NOT NULL
    ), asked AS (
        SELECT * FROM jsonb_to_recordset(wanted)
            AS f (scope text, kind text, "window" text, source text, value bigint)
    )
    SELECT s.scope, s.kind, s."window", s.source, NULL::bigint
    FROM said AS s
    WHERE s.source IN ('file', 'default') AND NOT EXISTS (
        SELECT FROM asked AS a WHERE (a.scope, a.kind, a."window", a.source) = (s.scope, s.kind, s."window", s.source)
    )
    UNION ALL
    (SELECT a.scope, a.kind, a."window", a.source, a.value FROM asked AS a
    EXCEPT SELECT s.scope, s.kind, s."window", s.source, s.value FROM said AS s)
$$;

-- Make the file's and the defaults' words those given: no more, no less; and its zone that of the calendar. Who has no
-- file may not take back what another one's says. Nobody waits for the book's lock where nothing is new.
CREATE FUNCTION crewcap.sync_file(
    money jsonb, beside jsonb, new_zone text, has_file boolean, asked jsonb
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look(asked);
BEGIN
    IF (NOT has_file AND (
        EXISTS (SELECT FROM crewcap.limit_word AS w WHERE w.source = 'file' AND w.limit_nano IS NOT NULL)
        OR EXISTS (SELECT FROM crewcap.beside_word AS w WHERE w.source = 'file' AND w.value IS NOT NULL)
    )) OR (clock.zone = new_zone AND NOT EXISTS (SELECT FROM crewcap.limits_to_say(money))
        AND NOT EXISTS (SELECT FROM crewcap.besides_to_say(beside))) THEN
        RETURN crewcap.told(clock, 'false');
    END IF;
    clock := crewcap.look_to_write(asked);
    IF clock.is_stale THEN
        RETURN crewcap.told(clock, NULL);
    END IF;
    IF clock.zone <> new_zone THEN  -- every limit's row in the old zone counts until it ends
        PERFORM crewcap.open_windows(NULL, clock);
        PERFORM crewcap.open_tallies(NULL, clock, true);
        UPDATE crewcap.ledger SET zone = new_zone;
    END IF;
    INSERT INTO crewcap.limit_change (scope, "window", source, limit_nano, at)
    SELECT s.scope, s."window", s.source, s.limit_nano, clock.at FROM crewcap.limits_to_say(money) AS s;
    INSERT INTO crewcap.beside_change (scope, kind, "window", source, value, at, wall)
    SELECT s.scope, s.kind, s."window", s.source, s.value, clock.at, clock.wall FROM crewcap.besides_to_say(beside) AS s;
    RETURN crewcap.told(clock, 'true');
END $$;

-- Store a key and its cap. A run's key counts its run in every scope and window; the answer is the count that has no
-- room for it, and then there is no key. A run that was counted in a window is not counted there again.
CREATE FUNCTION crewcap.add_key(new_key jsonb, cap bigint, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    its_scopes text[] := ARRAY(SELECT jsonb_array_elements_text(new_key -> 'scopes'));
    c record;
BEGIN
    IF clock.is_stale THEN
        RETURN crewcap.told(clock, NULL);
    END IF;
    IF new_key ->> 'run' <> '' THEN
        FOR c IN SELECT * FROM crewcap.counts(its_scopes, clock) AS f
            WHERE f.kind <> 'tokens' AND f.used >= f.value * CASE f.kind WHEN 'hours' THEN 3600 ELSE 1 END
            ORDER BY f.scope, f.kind, f."window", f.starts_at
        LOOP
            CONTINUE WHEN c.kind = 'runs' AND crewcap.run_is_counted(new_key ->> 'run', c.scope, c.starts_at, c.ends_at);
            RETURN crewcap.told(clock, crewcap.count_told(c));
        END LOOP;
    END IF;
    INSERT INTO crewcap.virtual_key (id, hash, scopes, created_at, booked_at, expires_at, models, max_output, max_turns,
        capped, run, label)
    VALUES (new_key ->> 'id', new_key ->> 'hash', its_scopes, (new_key ->> 'created_at')::bigint, clock.at,
        (new_key ->> 'expires_at')::bigint, ARRAY(SELECT jsonb_array_elements_text(new_key -> 'models')),
        (new_key ->> 'max_output')::bigint, (new_key ->> 'max_turns')::bigint, (new_key ->> 'capped')::boolean,
        new_key ->> 'run', new_key ->> 'label');
    IF cap IS NOT NULL THEN
        INSERT INTO crewcap.limit_change (scope, "window", source, limit_nano, at)
        VALUES (its_scopes[1], 'total', 'key', cap, clock.at);
    END IF;
    RETURN crewcap.told(clock, 'null');
END $$;

-- Refuse a key from now on; false = there is none, or it was revoked before.
CREATE FUNCTION crewcap.revoke_key(of_key text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    UPDATE crewcap.virtual_key SET revoked_at = clock.wall WHERE id = of_key AND revoked_at IS NULL;
    RETURN crewcap.told(clock, to_jsonb(FOUND));
END $$;

-- THE CLOCK -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION crewcap.read_clock(asked jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT crewcap.told(crewcap.look(asked), 'null')
$$;

-- An operator's word that the clock is right although it jumped: it is trusted as it stands.
CREATE FUNCTION crewcap.accept_clock(asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    raw bigint := coalesce((asked ->> 'fixed')::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    accepted bigint;
BEGIN
    UPDATE crewcap.ledger
    SET clock_doubt = '', clock_accepts = clock_accepts + 1, clock_accepted_at = raw
    RETURNING clock_accepts INTO accepted;
    RETURN jsonb_build_object('wall', raw, 'accepts', accepted)::text;
END $$;

-- INCIDENTS -----------------------------------------------------------------------------------------------------------

-- Freeze a provider, unless it is already; false = it is.
CREATE FUNCTION crewcap.freeze(of_provider text, why text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    INSERT INTO crewcap.incident (provider, reason, at) VALUES (of_provider, why, clock.wall) ON CONFLICT DO NOTHING;
    RETURN crewcap.told(clock, to_jsonb(FOUND));
END $$;

-- Somebody has looked; false = there was nothing to look at.
CREATE FUNCTION crewcap.thaw(of_provider text, said text, asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
BEGIN
    UPDATE crewcap.incident SET thawed_at = clock.wall, word = said WHERE provider = of_provider AND thawed_at IS NULL;
    RETURN crewcap.told(clock, to_jsonb(FOUND));
END $$;

-- RESTORED BOOKS ------------------------------------------------------------------------------------------------------

-- Whether some gateway lives.
CREATE FUNCTION crewcap.is_used() RETURNS boolean LANGUAGE sql AS $$
    SELECT coalesce(bool_or(NOT pg_try_advisory_xact_lock(crewcap.lock_of(b.id))), false)
    FROM crewcap.boot AS b WHERE b.ended_at IS NULL
$$;

-- Take older books as the ledger from now on, under a new name; one entry stands for all that they do not know.
CREATE FUNCTION crewcap.accept_restored(new_uuid text, name text, cost bigint, said text, asked jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock crewcap.moment := crewcap.look_to_write(asked);
    its_hold bigint;
BEGIN
    IF clock.is_stale THEN
        RETURN crewcap.told(clock, NULL);
    END IF;
    UPDATE crewcap.ledger SET uuid = new_uuid;
    PERFORM crewcap.open_windows(NULL, clock);
    INSERT INTO crewcap.virtual_key (id, hash, scopes, created_at, booked_at, models, capped, run, label)
    VALUES (name, name, ARRAY['key:' || name, 'all'], clock.wall, clock.at, '{}', true, '', '');
    INSERT INTO crewcap.boot (id, host, pid, started_at) VALUES (name, '', 0, clock.wall);
    INSERT INTO crewcap.hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit,
        asked_output, agent, parent_agent, notes)
    VALUES (name, name, name, clock.at, 0, '', '', '', 0, 0, 0, '', '', '[]')
    RETURNING seq INTO its_hold;
    INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)
    VALUES (its_hold, 'sent', 0, 0, 0, clock.at, clock.wall);
    INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, reason, incident)
    VALUES (its_hold, 'settled', 0, 0, cost, clock.at, clock.wall, said,
        'booked for entries that were lost with the ledger before this one');
    UPDATE crewcap.virtual_key SET revoked_at = clock.wall WHERE id = name;
    UPDATE crewcap.boot SET ended_at = clock.wall WHERE id = name;
    RETURN crewcap.told(clock, 'null');
END $$;
