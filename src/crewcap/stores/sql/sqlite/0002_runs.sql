-- Runs, and the story of each. Money is not here: the ledger's movements alone know it.

CREATE TABLE run (
    id         TEXT PRIMARY KEY,
    slug       TEXT NOT NULL,             -- "fix-login"
    number     INTEGER NOT NULL,          -- the 2 of fix-login.2
    tracker    TEXT NOT NULL,
    issue      TEXT NOT NULL,             -- the issue's key within its tracker
    state      TEXT NOT NULL,
    is_open    INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    created_at TEXT NOT NULL,             -- RFC 3339, UTC
    document   TEXT NOT NULL,             -- the whole run, JSON
    UNIQUE (slug, number)
) STRICT;

-- One open run an issue: the second start of the same issue finds the first.
CREATE UNIQUE INDEX run_open_issue ON run (tracker, issue) WHERE is_open = 1;
CREATE INDEX run_newest ON run (created_at);

CREATE TABLE run_event (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    run  TEXT NOT NULL REFERENCES run (id),
    at   TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL                    -- JSON
) STRICT;

CREATE INDEX run_event_run ON run_event (run, seq);
CREATE TRIGGER run_event_is_append_only BEFORE UPDATE ON run_event
BEGIN SELECT RAISE(ABORT, 'a run''s story is only appended to'); END;
