-- Runs, and the story of each. Money is not here: the ledger's movements alone know it.

CREATE TABLE crewcap.run (
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    id         text PRIMARY KEY,
    slug       text NOT NULL,             -- "fix-login"
    number     bigint NOT NULL,           -- the 2 of fix-login.2
    tracker    text NOT NULL,
    issue      text NOT NULL,             -- the issue's key within its tracker
    state      text NOT NULL,
    is_open    boolean NOT NULL,
    created_at text NOT NULL,             -- RFC 3339, UTC
    document   text NOT NULL,             -- the whole run, JSON
    home       text NOT NULL,             -- whose workspace it has
    machine    text NOT NULL,             -- what people call the machine of that home
    UNIQUE (slug, number)
);

-- One open run an issue: the second start of the same issue finds the first.
CREATE UNIQUE INDEX run_open_issue ON crewcap.run (tracker, issue) WHERE is_open;
CREATE INDEX run_newest ON crewcap.run (home, created_at);

CREATE TABLE crewcap.run_event (
    seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run  text NOT NULL REFERENCES crewcap.run (id),
    at   text NOT NULL,
    kind text NOT NULL,
    text text NOT NULL,
    data text NOT NULL                    -- JSON
);

CREATE INDEX run_event_run ON crewcap.run_event (run, seq);
CREATE TRIGGER run_event_stays BEFORE UPDATE OR DELETE ON crewcap.run_event
FOR EACH ROW EXECUTE FUNCTION crewcap.stays();
CREATE TRIGGER run_event_is_kept BEFORE TRUNCATE ON crewcap.run_event
FOR EACH STATEMENT EXECUTE FUNCTION crewcap.stays();
