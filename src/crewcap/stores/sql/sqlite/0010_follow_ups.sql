-- What people wrote at an issue for crewcap after a run had begun, each taken up once, and what came of it.
CREATE TABLE follow_up (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    tracker TEXT NOT NULL,
    issue   TEXT NOT NULL,
    id      TEXT NOT NULL,     -- the tracker's, of these words
    run     TEXT NOT NULL REFERENCES run (id),
    attempt INTEGER NOT NULL,  -- of the run, where it was at rest; else 0
    at      INTEGER NOT NULL,  -- microseconds since 1970, like all times here
    kind    TEXT NOT NULL CHECK (kind IN ('words', 'edit')),
    by      TEXT NOT NULL,
    text    TEXT NOT NULL,
    reply   TEXT NOT NULL,     -- what came of it, in words
    is_done INTEGER NOT NULL CHECK (is_done IN (0, 1)),
    UNIQUE (tracker, issue, id)
) STRICT;
