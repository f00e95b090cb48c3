-- Runs that nobody sits beside: what started them, what is said to them, the places that they take from others, and who
-- drives them. No money is here.

-- At most one run comes of what started it, however many workers see it due: "schedule:nightly@2026-11-22T02:00Z".
-- A run that workers drive is every home's: any of them may go on with it, be told to stop it, or answer it.
ALTER TABLE crewcap.run ADD COLUMN started_by text NOT NULL DEFAULT '';
ALTER TABLE crewcap.run ADD COLUMN is_hosted boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX run_started_by ON crewcap.run (started_by) WHERE started_by <> '';
CREATE INDEX run_open ON crewcap.run (created_at COLLATE "C", seq) WHERE is_open;
CREATE INDEX run_age ON crewcap.run (created_at COLLATE "C", seq);

-- What somebody said to a run, until whoever drives it has acted on it.
CREATE TABLE crewcap.word (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run      text NOT NULL REFERENCES crewcap.run (id),
    at       bigint NOT NULL,  -- microseconds since 1970, like all times here
    kind     text NOT NULL CHECK (kind IN ('stop', 'pause', 'say')),
    text     text NOT NULL,
    by       text NOT NULL,
    is_heard boolean NOT NULL DEFAULT false
);

CREATE INDEX word_unheard ON crewcap.word (run, seq) WHERE NOT is_heard;

-- A run's places: in each of its scopes, or in none.
CREATE TABLE crewcap.slot (
    scope text NOT NULL,
    run   text NOT NULL REFERENCES crewcap.run (id),
    PRIMARY KEY (scope, run)
);

CREATE INDEX slot_of_run ON crewcap.slot (run);

-- What came of each due time of a schedule.
CREATE TABLE crewcap.tick (
    schedule text NOT NULL,
    at       bigint NOT NULL,  -- when it was due
    run      text NOT NULL,    -- empty = none was started
    note     text NOT NULL,    -- why none was
    PRIMARY KEY (schedule, at)
);

-- Who drives runs, and when it last said that it is alive, by the database's clock.
CREATE TABLE crewcap.worker (
    name    text PRIMARY KEY,
    seen_at bigint NOT NULL,
    version text NOT NULL      -- of the workflow that it carries out
);
