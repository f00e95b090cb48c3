-- What transcripts told: an index over other programs' files, and no money. Nothing in the books rests on it. What was
-- counted stays counted when its file is gone, so this file cannot always be made again.

-- Which files were read, how far, and what they were like then.
CREATE TABLE file (
    id       INTEGER PRIMARY KEY,
    path     BLOB NOT NULL UNIQUE,          -- as the system calls it
    agent    TEXT NOT NULL,
    device   INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    at       INTEGER NOT NULL,              -- bytes up to the end of the last full line
    checked  INTEGER NOT NULL,              -- checksum of the bytes right before that
    state    TEXT NOT NULL,                 -- what its reader must know of the lines before, as JSON
    problems TEXT NOT NULL                  -- lines that were not counted, by reason, as JSON
) STRICT;

CREATE TABLE session (
    id    INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,
    name  TEXT NOT NULL,
    UNIQUE (agent, name)
) STRICT;

-- Folders that agents worked in, and the repository that each belongs to (or belonged to, when it was first seen).
CREATE TABLE place (
    id     INTEGER PRIMARY KEY,
    folder TEXT NOT NULL UNIQUE,
    repo   TEXT NOT NULL
) STRICT;

-- What is priced alike, by agent.
CREATE TABLE kind (
    id       INTEGER PRIMARY KEY,
    agent    TEXT NOT NULL,
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    speed    TEXT NOT NULL,
    geo      TEXT NOT NULL,
    tier     TEXT NOT NULL,
    UNIQUE (agent, provider, model, speed, geo, tier)
) STRICT;

CREATE TABLE message (
    key        TEXT PRIMARY KEY,
    file       INTEGER NOT NULL,            -- that told it first
    at         INTEGER NOT NULL,            -- milliseconds since 1970
    session    INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    input      INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    write_5m   INTEGER NOT NULL,
    write_1h   INTEGER NOT NULL,
    output     INTEGER NOT NULL,
    thinking   INTEGER NOT NULL,
    searches   INTEGER NOT NULL,
    is_sub     INTEGER NOT NULL,
    parts      TEXT NOT NULL,
    nano       INTEGER                      -- what it cost; NULL = nobody priced it
) STRICT, WITHOUT ROWID;

-- Small facts: the prices that `message.nano` is by, how often anything changed, answers that are still true.
CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
