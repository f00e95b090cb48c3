-- What each request told of its conversation's prompt cache. Advice, and no money: the books do not rest on it, and a
-- row may be missing. Tokens and prices of the request stand in its movement, under the same hold.

CREATE TABLE cache_turn (
    hold         TEXT PRIMARY KEY,
    run          TEXT NOT NULL,             -- '' for a plain key
    virtual_key  TEXT NOT NULL,
    conversation TEXT NOT NULL,             -- a name for it, from how it begins
    gap_ms       INTEGER,                   -- since the conversation's last answer; NULL = its first request
    kept         INTEGER NOT NULL CHECK (kept >= 0),  -- tokens that the last request had left in the cache
    lost         INTEGER NOT NULL CHECK (lost >= 0),  -- of these, sent again although they should have been there
    cost         INTEGER NOT NULL CHECK (cost >= 0),  -- nano-dollars that this cost beyond reading them
    broke        TEXT NOT NULL              -- the first difference from the last request; '' = not looked at
) STRICT;

CREATE INDEX cache_turn_run ON cache_turn (run) WHERE run <> '';
CREATE INDEX cache_turn_key ON cache_turn (virtual_key);
