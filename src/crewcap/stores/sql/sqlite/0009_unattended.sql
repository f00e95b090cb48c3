-- Runs that nobody sits beside: what started them, what is said to them, the places that they take from others, and who
-- drives them. No money is here.

-- At most one run comes of what started it, however many workers see it due: "schedule:nightly@2026-11-22T02:00Z".
ALTER TABLE run ADD COLUMN started_by TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX run_started_by ON run (started_by) WHERE started_by <> '';
CREATE INDEX run_open ON run (created_at) WHERE is_open = 1;

-- What somebody said to a run, until whoever drives it has acted on it.
CREATE TABLE word (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    run      TEXT NOT NULL REFERENCES run (id),
    at       INTEGER NOT NULL,  -- microseconds since 1970, like all times here
    kind     TEXT NOT NULL CHECK (kind IN ('stop', 'pause', 'say')),
    text     TEXT NOT NULL,
    by       TEXT NOT NULL,
    is_heard INTEGER NOT NULL DEFAULT 0 CHECK (is_heard IN (0, 1))
) STRICT;

CREATE INDEX word_unheard ON word (run, seq) WHERE is_heard = 0;

-- A run's places: in each of its scopes, or in none.
CREATE TABLE slot (
    scope TEXT NOT NULL,
    run   TEXT NOT NULL REFERENCES run (id),
    PRIMARY KEY (scope, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX slot_of_run ON slot (run);

-- What came of each due time of a schedule.
CREATE TABLE tick (
    schedule TEXT NOT NULL,
    at       INTEGER NOT NULL,  -- when it was due
    run      TEXT NOT NULL,     -- empty = none was started
    note     TEXT NOT NULL,     -- why none was
    PRIMARY KEY (schedule, at)
) STRICT, WITHOUT ROWID;

-- Who drives runs, and when it last said that it is alive.
CREATE TABLE worker (
    name    TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    version TEXT NOT NULL       -- of the workflow that it carries out
) STRICT, WITHOUT ROWID;
