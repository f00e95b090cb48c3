-- The books in PostgreSQL. Money moves only by a row appended to `movement`; everything that limits is checked here too.
--
--   facts, append-only    virtual_key  limit_change  beside_change  hold  movement  refusal
--   derived from them     limit_in_force  beside_in_force  budget  tally  bucket  open_hold
--                         (`crewcap ledger verify` recomputes them all; limits are in 0002_limits.sql)
--
-- A hold belongs to a key, and a key's scopes never change, so every hold has all its scopes, limited or not.
-- Money is nano-dollars, instants are microseconds since 1970 in UTC; both are bigint.
--
-- ONE WRITER AT A TIME. Whoever moves money or changes a limit takes the book's lock first (`take_book`), and rows
-- after it. Everything is limited by `all`, so its row would be such a lock anyhow; taken first, it makes the order of
-- movements, their numbers without a gap and their time that never falls simply true, and a deadlock impossible. The
-- lock is never held while the disk is waited for: `reserve_many` gives it back before it flushes.

-- Who these books are, the calendar that they use, and whether their clock is trusted.
CREATE TABLE crewcap.ledger (
    one               integer PRIMARY KEY CHECK (one = 1),
    uuid              text NOT NULL,
    made_at           bigint NOT NULL,
    zone              text NOT NULL,
    clock_doubt       text NOT NULL DEFAULT '',   -- why paid requests are refused until somebody accepts the clock
    clock_accepts     bigint NOT NULL DEFAULT 0,  -- rises with each word that the clock is right
    clock_accepted_at bigint NOT NULL DEFAULT 0
);

-- One life of one gateway; it is over when its session's lock is free.
CREATE TABLE crewcap.boot (
    id         text PRIMARY KEY,
    host       text NOT NULL,
    pid        bigint NOT NULL,
    started_at bigint NOT NULL,
    ended_at   bigint
);

CREATE INDEX boot_living ON crewcap.boot (id) WHERE ended_at IS NULL;

-- Virtual keys, by hash, with what their money is spent for, from themselves to everything. Only `revoked_at` may
-- change, once.
CREATE TABLE crewcap.virtual_key (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text NOT NULL UNIQUE,
    hash       text NOT NULL UNIQUE,
    scopes     text[] NOT NULL CHECK (scopes[1] = 'key:' || id AND scopes[cardinality(scopes)] = 'all'),
    created_at bigint NOT NULL,
    booked_at  bigint NOT NULL,  -- window time: the windows that its run is counted in
    expires_at bigint,
    revoked_at bigint,
    models     text[] NOT NULL,
    max_output bigint,
    max_turns  bigint,
    capped     boolean NOT NULL,
    run        text NOT NULL,
    label      text NOT NULL
);

CREATE INDEX virtual_key_by_scope ON crewcap.virtual_key USING gin (scopes) WITH (fastupdate = off);
CREATE INDEX virtual_key_by_time ON crewcap.virtual_key (booked_at) WHERE run <> '';

-- A limit in one window of the calendar and what has become of it. Rows exist only where a limit is in force.
CREATE TABLE crewcap.budget (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text NOT NULL,
    "window"   text NOT NULL,
    label      text NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at  bigint NOT NULL,
    ends_at    bigint NOT NULL,
    limit_nano bigint NOT NULL,
    spent      bigint NOT NULL,
    held       bigint NOT NULL,
    uncertain  bigint NOT NULL,
    UNIQUE (scope, "window", label)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX budget_by_end ON crewcap.budget (scope, ends_at);

-- One request's promise of money, as it was made.
CREATE TABLE crewcap.hold (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text NOT NULL UNIQUE,
    boot         text NOT NULL,
    key          text NOT NULL,
    booked_at    bigint NOT NULL,  -- window time: all its movements count in the windows of this instant
    amount       bigint NOT NULL CHECK (amount >= 0),
    provider     text NOT NULL,
    model        text NOT NULL,
    book         text NOT NULL,
    prompt_bound bigint NOT NULL,
    output_limit bigint NOT NULL,
    asked_output bigint NOT NULL,
    agent        text NOT NULL,
    parent_agent text NOT NULL,
    notes        jsonb NOT NULL
);

CREATE INDEX hold_by_key ON crewcap.hold (key);
CREATE INDEX hold_by_time ON crewcap.hold (booked_at);

-- Money moving between held, uncertain and spent. Numbers have no gap: `movement_law` gives them.
CREATE TABLE crewcap.movement (
    id              bigint PRIMARY KEY,
    hold            bigint NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('sent', 'shrunk', 'settled', 'released', 'uncertain', 'reconciled')),
    held_delta      bigint NOT NULL,
    uncertain_delta bigint NOT NULL,
    spent_delta     bigint NOT NULL,
    notional_delta  bigint NOT NULL DEFAULT 0,  -- what a subscription would have cost; counts against no limit
    at              bigint NOT NULL,            -- window time, never falling
    wall            bigint NOT NULL,            -- the clock as it was trusted then
    input           bigint NOT NULL DEFAULT 0,
    cache_read      bigint NOT NULL DEFAULT 0,
    write_5m        bigint NOT NULL DEFAULT 0,
    write_1h        bigint NOT NULL DEFAULT 0,
    output          bigint NOT NULL DEFAULT 0,
    thinking        bigint NOT NULL DEFAULT 0,
    pieces          jsonb NOT NULL DEFAULT '{}',
    model           text NOT NULL DEFAULT '',   -- as answered
    card            text NOT NULL DEFAULT '',
    request_id      text NOT NULL DEFAULT '',
    status          bigint NOT NULL DEFAULT 0,
    reason          text NOT NULL DEFAULT '',
    incident        text NOT NULL DEFAULT '',
    raw_usage       text NOT NULL DEFAULT ''
);

CREATE UNIQUE INDEX movement_once ON crewcap.movement (hold, kind);

-- Holds that are in flight, or closed with money that nobody proved.
CREATE TABLE crewcap.open_hold (
    hold      bigint PRIMARY KEY,
    boot      text NOT NULL,
    held      bigint NOT NULL,
    uncertain bigint NOT NULL,
    shrunk    boolean NOT NULL,
    closed    boolean NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- Requests that were not sent because money or a key said no.
CREATE TABLE crewcap.refusal (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key     text NOT NULL,
    at      bigint NOT NULL,
    model   text NOT NULL,
    needed  bigint NOT NULL,
    message text NOT NULL
);

CREATE INDEX refusal_by_key ON crewcap.refusal (key);

-- Answers that broke what holds rest on: no capped request goes to their provider until somebody has looked.
CREATE TABLE crewcap.incident (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider  text NOT NULL,
    reason    text NOT NULL,
    at        bigint NOT NULL,
    thawed_at bigint,                   -- when somebody had looked
    word      text NOT NULL DEFAULT ''  -- what they said
);

-- One that is not over for each provider: further ones say nothing new.
CREATE UNIQUE INDEX incident_open ON crewcap.incident (provider) WHERE thawed_at IS NULL;

-- The one lock of all writers, held to the end of the transaction. (Its number is "CCap" in ASCII.)
CREATE FUNCTION crewcap.take_book() RETURNS void LANGUAGE sql
AS $$ SELECT pg_advisory_xact_lock(1128489328, 0) $$;

-- THE FENCE. Only a growing `held` is checked: lowering a limit, a hold that becomes uncertain and a settlement above
-- its hold tell what already is, and a ledger that refuses to hear it would only be wrong.
CREATE FUNCTION crewcap.budget_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CC003',
        MESSAGE = 'the fence: this hold would take a budget over its limit';
END $$;

CREATE TRIGGER budget_fence BEFORE UPDATE ON crewcap.budget FOR EACH ROW
WHEN (NEW.held > OLD.held AND NEW.spent + NEW.uncertain + NEW.held > NEW.limit_nano)
EXECUTE FUNCTION crewcap.budget_fence();

-- The law of one hold: sent -> [shrunk] -> settled | released | uncertain -> [reconciled]; each once, each moving
-- exactly what is there, and booked to every budget of the hold's scopes whose window contains the instant that the
-- hold was booked at, whenever this is. Numbers and the order of time are given here: who writes without the book's
-- lock gets it now, and fails on a number that was given meanwhile. (Few large statements, because each costs as much
-- as what it does.)
CREATE FUNCTION crewcap.movement_law() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    it record;
BEGIN
    IF NEW.kind = 'sent' THEN
        SELECT n.id AS newest, n.at AS newest_at, h.booked_at, k.scopes,
            EXISTS (SELECT FROM crewcap.beside_in_force) AS is_limited,
            h.amount = NEW.held_delta AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0 AS follows,
            EXISTS (  -- a limit without its row would be no fence
                SELECT FROM crewcap.limit_in_force AS l
                WHERE l.scope = ANY (k.scopes) AND NOT EXISTS (
                    SELECT FROM crewcap.budget AS b
                    WHERE b.scope = l.scope AND b."window" = l."window"
                        AND b.ends_at > h.booked_at AND b.starts_at <= h.booked_at
                )
            ) AS is_open, h.boot, pg_advisory_xact_lock(1128489328, 0) IS NULL AS is_ours
        INTO it
        FROM crewcap.hold AS h
        JOIN crewcap.virtual_key AS k ON k.id = h.key
        JOIN crewcap.boot AS b ON b.id = h.boot
        LEFT JOIN LATERAL (SELECT m.id, m.at FROM crewcap.movement AS m ORDER BY m.id DESC LIMIT 1) AS n ON true
        WHERE h.seq = NEW.hold;
        IF it.follows IS NOT TRUE THEN
            RAISE EXCEPTION USING ERRCODE = 'CC003',
                MESSAGE = 'a hold is opened with the amount that it was made for';
        ELSIF it.is_open THEN
            RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'the fence: a limit of this hold has no budget row';
        END IF;
        WITH opened AS (
            INSERT INTO crewcap.open_hold (hold, boot, held, uncertain, shrunk, closed)
            VALUES (NEW.hold, it.boot, NEW.held_delta, 0, false, false)
        )
        UPDATE crewcap.budget AS b SET held = b.held + NEW.held_delta
        WHERE b.scope = ANY (it.scopes) AND b.ends_at > it.booked_at AND b.starts_at <= it.booked_at;
    ELSE
        SELECT n.id AS newest, n.at AS newest_at, h.booked_at, k.scopes,
            EXISTS (SELECT FROM crewcap.beside_in_force) AS is_limited,
            CASE NEW.kind
                WHEN 'shrunk' THEN
                    NOT o.closed AND NOT o.shrunk AND NEW.held_delta BETWEEN -o.held AND -1
                    AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0
                WHEN 'reconciled' THEN
                    o.closed AND NEW.held_delta = 0 AND NEW.uncertain_delta = -o.uncertain AND NEW.spent_delta >= 0
                ELSE
                    NOT o.closed AND NEW.held_delta = -o.held AND NEW.uncertain_delta >= 0 AND NEW.spent_delta >= 0
            END AS follows,
            NEW.kind <> 'shrunk' AND o.uncertain + NEW.uncertain_delta = 0 AS is_over,
            pg_advisory_xact_lock(1128489328, 0) IS NULL AS is_ours
        INTO it
        FROM crewcap.open_hold AS o
        JOIN crewcap.hold AS h ON h.seq = o.hold
        JOIN crewcap.virtual_key AS k ON k.id = h.key
        LEFT JOIN LATERAL (SELECT m.id, m.at FROM crewcap.movement AS m ORDER BY m.id DESC LIMIT 1) AS n ON true
        WHERE o.hold = NEW.hold;
        IF it.follows IS NOT TRUE THEN
            RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'this movement does not follow from what its hold is';
        ELSIF it.is_over THEN
            WITH closed AS (DELETE FROM crewcap.open_hold AS o WHERE o.hold = NEW.hold)
            UPDATE crewcap.budget AS b SET
                held = b.held + NEW.held_delta,
                uncertain = b.uncertain + NEW.uncertain_delta,
                spent = b.spent + NEW.spent_delta
            WHERE b.scope = ANY (it.scopes) AND b.ends_at > it.booked_at AND b.starts_at <= it.booked_at;
        ELSE
            UPDATE crewcap.open_hold AS o SET
                held = o.held + NEW.held_delta,
                uncertain = o.uncertain + NEW.uncertain_delta,
                shrunk = o.shrunk OR NEW.kind = 'shrunk',
                closed = o.closed OR NEW.kind <> 'shrunk'
            WHERE o.hold = NEW.hold;
            UPDATE crewcap.budget AS b SET
                held = b.held + NEW.held_delta,
                uncertain = b.uncertain + NEW.uncertain_delta,
                spent = b.spent + NEW.spent_delta
            WHERE b.scope = ANY (it.scopes) AND b.ends_at > it.booked_at AND b.starts_at <= it.booked_at;
        END IF;
    END IF;
    IF NEW.at < it.newest_at THEN
        RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'time in the books never falls';
    ELSIF it.is_limited THEN
        PERFORM crewcap.count_beside(NEW, it.scopes, it.booked_at);
    END IF;
    NEW.id := coalesce(it.newest, 0) + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER movement_law BEFORE INSERT ON crewcap.movement FOR EACH ROW EXECUTE FUNCTION crewcap.movement_law();

-- What was booked stays booked. TRUNCATE is a deletion, too.
CREATE FUNCTION crewcap.stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CC003',
        MESSAGE = format(
            'what is in %s is never %s', TG_TABLE_NAME, CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END
        );
END $$;

CREATE TRIGGER hold_stays BEFORE UPDATE OR DELETE ON crewcap.hold
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER hold_is_kept BEFORE TRUNCATE ON crewcap.hold
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER movement_stays BEFORE UPDATE OR DELETE ON crewcap.movement
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER movement_is_kept BEFORE TRUNCATE ON crewcap.movement
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER refusal_stays BEFORE UPDATE OR DELETE ON crewcap.refusal
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER refusal_is_kept BEFORE TRUNCATE ON crewcap.refusal
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER boot_is_kept BEFORE DELETE ON crewcap.boot
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER virtual_key_is_kept BEFORE DELETE ON crewcap.virtual_key
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER virtual_key_stays_whole BEFORE TRUNCATE ON crewcap.virtual_key
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();

CREATE TRIGGER incident_is_kept BEFORE DELETE ON crewcap.incident
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER incidents_are_kept BEFORE TRUNCATE ON crewcap.incident
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();

CREATE FUNCTION crewcap.incident_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.thawed_at IS NOT NULL OR NEW.thawed_at IS NULL
        OR (to_jsonb(NEW) - '{thawed_at,word}'::text[]) <> (to_jsonb(OLD) - '{thawed_at,word}'::text[]) THEN
        RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'an incident is only ended, once';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER incident_ends_once BEFORE UPDATE ON crewcap.incident
FOR EACH ROW EXECUTE FUNCTION crewcap.incident_ends_once();

CREATE FUNCTION crewcap.virtual_key_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL
        OR (to_jsonb(NEW) - 'revoked_at') <> (to_jsonb(OLD) - 'revoked_at') THEN
        RAISE EXCEPTION USING ERRCODE = 'CC003', MESSAGE = 'a key may only be revoked, once';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER virtual_key_stays BEFORE UPDATE ON crewcap.virtual_key
FOR EACH ROW EXECUTE FUNCTION crewcap.virtual_key_stays();
