-- Limits: what each source said of money, of rates (tokens and requests a minute, requests at once) and of counts (runs,
-- tokens, hours of a window); and which word counts. A word by command outranks what a key or a run brought along, which
-- outranks the settings file, which outranks the defaults. Every word is kept, so a version never comes back.

-- What was said of money, by whom; a null amount takes back what that source said.
CREATE TABLE crewcap.limit_change (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text NOT NULL,
    "window"   text NOT NULL CHECK ("window" IN ('total', 'day', 'week', 'month')),
    source     text NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    limit_nano bigint CHECK (limit_nano >= 0),
    at         bigint NOT NULL
);

CREATE INDEX limit_change_by_scope ON crewcap.limit_change (scope, "window", source, id);

-- The limit that counts for a scope and a window: the strongest source's newest word.
CREATE TABLE crewcap.limit_in_force (
    scope      text NOT NULL,
    "window"   text NOT NULL,
    limit_nano bigint NOT NULL,
    source     text NOT NULL,
    version    bigint NOT NULL,  -- the newest change of any source when it was put in force
    PRIMARY KEY (scope, "window")
);

-- What was said of a rate or a count. Rates have no window.
CREATE TABLE crewcap.beside_change (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope    text NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('tpm', 'rpm', 'concurrent', 'runs', 'tokens', 'hours')),
    "window" text NOT NULL CHECK ("window" IN ('', 'total', 'day', 'week', 'month')),
    source   text NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    value    bigint CHECK (value >= 0 AND value <= CASE "window" WHEN '' THEN 10000000000 ELSE 1000000000000000 END),
    at       bigint NOT NULL,
    wall     bigint NOT NULL,  -- the clock as it was trusted then: buckets go by it
    CHECK (("window" = '') = (kind IN ('tpm', 'rpm', 'concurrent')))
);

CREATE INDEX beside_change_by_scope ON crewcap.beside_change (scope, kind, "window", source, id);

-- The rate or count that counts: the strongest source's newest word.
CREATE TABLE crewcap.beside_in_force (
    scope    text NOT NULL,
    kind     text NOT NULL,
    "window" text NOT NULL,
    value    bigint NOT NULL,
    source   text NOT NULL,
    version  bigint NOT NULL,
    PRIMARY KEY (scope, kind, "window")
);

-- A count in one window of the calendar. `used` is kept for tokens alone: runs and hours are read off the keys, and have
-- a row only while the calendar's zone changes, to remember the old zone's window until it ends.
CREATE TABLE crewcap.tally (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope     text NOT NULL,
    kind      text NOT NULL,
    "window"  text NOT NULL,
    label     text NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at bigint NOT NULL,
    ends_at   bigint NOT NULL,
    used      bigint NOT NULL,
    UNIQUE (scope, kind, "window", label)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX tally_by_end ON crewcap.tally (scope, kind, ends_at);

-- The bucket of a rate in force: parts, 60 million of which are one token or one request, so that `value` parts fill it
-- every microsecond. It holds one minute's worth and may be in debt. Its clock is the wall clock as it was trusted: one
-- that was set back fills nothing, and goes on from there.
CREATE TABLE crewcap.bucket (
    scope text NOT NULL,
    kind  text NOT NULL CHECK (kind IN ('tpm', 'rpm')),
    value bigint NOT NULL,
    level bigint NOT NULL,
    at    bigint NOT NULL,
    since bigint NOT NULL,  -- the newest movement when it was made
    taken bigint NOT NULL,  -- tokens or requests, of all movements after that one
    PRIMARY KEY (scope, kind)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- How strong a source's word is; of equally strong ones the newest counts.
CREATE FUNCTION crewcap.weakness(of_source text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE of_source WHEN 'command' THEN 0 WHEN 'key' THEN 1 WHEN 'run' THEN 1 WHEN 'file' THEN 2 ELSE 3 END
$$;

-- The newest word of every source, and the one that counts. The version is the newest change of all: a word that only
-- lost its strength is news as well.
CREATE VIEW crewcap.limit_word AS
SELECT DISTINCT ON (c.scope, c."window", c.source) c.scope, c."window", c.source, c.limit_nano, c.id,
    max(c.id) OVER (PARTITION BY c.scope, c."window") AS version
FROM crewcap.limit_change AS c
ORDER BY c.scope, c."window", c.source, c.id DESC;

CREATE VIEW crewcap.limit_said AS
SELECT DISTINCT ON (w.scope, w."window") w.scope, w."window", w.limit_nano, w.source, w.version
FROM crewcap.limit_word AS w
WHERE w.limit_nano IS NOT NULL
ORDER BY w.scope, w."window", crewcap.weakness(w.source), w.id DESC;

CREATE VIEW crewcap.beside_word AS
SELECT DISTINCT ON (c.scope, c.kind, c."window", c.source) c.scope, c.kind, c."window", c.source, c.value, c.id,
    max(c.id) OVER (PARTITION BY c.scope, c.kind, c."window") AS version
FROM crewcap.beside_change AS c
ORDER BY c.scope, c.kind, c."window", c.source, c.id DESC;

CREATE VIEW crewcap.beside_said AS
SELECT DISTINCT ON (w.scope, w.kind, w."window") w.scope, w.kind, w."window", w.value, w.source, w.version
FROM crewcap.beside_word AS w
WHERE w.value IS NOT NULL
ORDER BY w.scope, w.kind, w."window", crewcap.weakness(w.source), w.id DESC;

-- What was said comes into force at once, in every window that is not over.
CREATE FUNCTION crewcap.limit_law() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said record;
BEGIN
    SELECT s.limit_nano, s.source, s.version INTO said
    FROM crewcap.limit_said AS s WHERE s.scope = NEW.scope AND s."window" = NEW."window";
    IF NOT FOUND THEN
        DELETE FROM crewcap.limit_in_force AS l WHERE l.scope = NEW.scope AND l."window" = NEW."window";
        DELETE FROM crewcap.budget AS b WHERE b.scope = NEW.scope AND b."window" = NEW."window";
        RETURN NULL;
    END IF;
    INSERT INTO crewcap.limit_in_force AS l (scope, "window", limit_nano, source, version)
    VALUES (NEW.scope, NEW."window", said.limit_nano, said.source, said.version)
    ON CONFLICT (scope, "window") DO UPDATE
    SET limit_nano = excluded.limit_nano, source = excluded.source, version = excluded.version
    WHERE (l.limit_nano, l.source) IS DISTINCT FROM (excluded.limit_nano, excluded.source);
    IF FOUND THEN
        UPDATE crewcap.budget AS b SET limit_nano = said.limit_nano
        WHERE b.scope = NEW.scope AND b."window" = NEW."window" AND b.ends_at > NEW.at;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER limit_law AFTER INSERT ON crewcap.limit_change FOR EACH ROW EXECUTE FUNCTION crewcap.limit_law();

-- What is in a bucket at an instant.
CREATE FUNCTION crewcap.filled(value bigint, level bigint, at bigint, now_wall bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN now_wall <= at THEN level
        WHEN (value * 60000000 - level) / greatest(value, 1) < now_wall - at THEN value * 60000000
        ELSE least(value * 60000000, level + value * (now_wall - at))
    END
$$;

-- The same for rates and counts. A rate in force has a bucket from that moment on: a new one is full, one that is made
-- larger or smaller keeps what is in it, or its debt.
CREATE FUNCTION crewcap.beside_law() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said record;
BEGIN
    SELECT s.value, s.source, s.version INTO said
    FROM crewcap.beside_said AS s WHERE s.scope = NEW.scope AND s.kind = NEW.kind AND s."window" = NEW."window";
    IF NOT FOUND THEN
        DELETE FROM crewcap.beside_in_force AS l
        WHERE l.scope = NEW.scope AND l.kind = NEW.kind AND l."window" = NEW."window";
        DELETE FROM crewcap.tally AS t WHERE t.scope = NEW.scope AND t.kind = NEW.kind AND t."window" = NEW."window";
        DELETE FROM crewcap.bucket AS b WHERE b.scope = NEW.scope AND b.kind = NEW.kind;
        RETURN NULL;
    END IF;
    INSERT INTO crewcap.beside_in_force AS l (scope, kind, "window", value, source, version)
    VALUES (NEW.scope, NEW.kind, NEW."window", said.value, said.source, said.version)
    ON CONFLICT (scope, kind, "window") DO UPDATE
    SET value = excluded.value, source = excluded.source, version = excluded.version
    WHERE (l.value, l.source) IS DISTINCT FROM (excluded.value, excluded.source);
    IF NEW.kind IN ('tpm', 'rpm') THEN
        INSERT INTO crewcap.bucket AS b (scope, kind, value, level, at, since, taken)
        VALUES (NEW.scope, NEW.kind, said.value, said.value * 60000000, NEW.wall,
            (SELECT coalesce(max(m.id), 0) FROM crewcap.movement AS m), 0)
        ON CONFLICT (scope, kind) DO UPDATE SET
            value = excluded.value,
            level = least(excluded.value * 60000000, crewcap.filled(b.value, b.level, b.at, excluded.at)),
            at = excluded.at;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER beside_law AFTER INSERT ON crewcap.beside_change FOR EACH ROW EXECUTE FUNCTION crewcap.beside_law();

-- What was said stays said.
CREATE TRIGGER limit_change_stays BEFORE UPDATE OR DELETE ON crewcap.limit_change
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER limit_change_is_kept BEFORE TRUNCATE ON crewcap.limit_change
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER beside_change_stays BEFORE UPDATE OR DELETE ON crewcap.beside_change
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER beside_change_is_kept BEFORE TRUNCATE ON crewcap.beside_change
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();

-- The tokens that a hold counts for: those that were told; the most that they can be while it is in flight or its end
-- is uncertain, and for good where somebody's word closed it at a cost, which tells no tokens. A usage that lies is cut
-- where it could no longer be added up. `closed` and `word` are null before its end, and before such a word.
CREATE FUNCTION crewcap.tokens(
    most bigint, closed text, uncertain bigint, told numeric, word bigint
) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT least(1000000000000, CASE
        WHEN closed IS NULL THEN most
        WHEN (closed = 'uncertain' OR uncertain > 0) AND word IS DISTINCT FROM 0 THEN greatest(most, told)
        ELSE told
    END)::bigint
$$;

CREATE VIEW crewcap.hold_tokens AS
SELECT h.seq AS hold, h.key, h.booked_at,
    crewcap.tokens(
        h.prompt_bound + h.output_limit, c.kind, c.uncertain_delta,
        c.input::numeric + c.cache_read + c.write_5m + c.write_1h + c.output, r.spent_delta
    ) AS tokens
FROM crewcap.hold AS h
JOIN crewcap.movement AS m ON m.hold = h.seq AND m.kind = 'sent'
LEFT JOIN crewcap.movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
LEFT JOIN crewcap.movement AS r ON r.hold = h.seq AND r.kind = 'reconciled';

-- What a movement changes beside money: what its hold counts for (the old number goes, the new one comes), and what is
-- taken out of its scopes' buckets. Both are cut where whole numbers would end, far beyond what any provider sells: a
-- usage that lies may not stop a settlement.
CREATE FUNCTION crewcap.count_beside(it crewcap.movement, scopes text[], booked_at bigint) RETURNS void
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
        WHERE b.kind = takes AND b.scope = ANY (count_beside.scopes);
    END IF;
END $$;
