-- What people wrote at an issue for crewcap after a run had begun, each taken up once, and what came of it.
CREATE TABLE crewcap.follow_up (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tracker text NOT NULL,
    issue   text NOT NULL,
    id      text NOT NULL,     -- the tracker's, of these words
    run     text NOT NULL REFERENCES crewcap.run (id),
    attempt integer NOT NULL,  -- of the run, where it was at rest; else 0
    at      bigint NOT NULL,   -- microseconds since 1970, like all times here
    kind    text NOT NULL CHECK (kind IN ('words', 'edit')),
    by      text NOT NULL,
    text    text NOT NULL,
    reply   text NOT NULL,     -- what came of it, in words
    is_done boolean NOT NULL,
    UNIQUE (tracker, issue, id)
);
