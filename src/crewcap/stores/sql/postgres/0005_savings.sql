-- What each request told of its conversation's prompt cache. Advice, and no money: the books do not rest on it, and a
-- row may be missing. Tokens and prices of the request stand in its movement, under the same hold.
CREATE TABLE crewcap.cache_turn (
    hold         text PRIMARY KEY,
    run          text NOT NULL,             -- '' for a plain key
    virtual_key  text NOT NULL,
    conversation text NOT NULL,             -- a name for it, from how it begins
    gap_ms       bigint,                    -- since the conversation's last answer; null = its first request
    kept         bigint NOT NULL CHECK (kept >= 0),  -- tokens that the last request had left in the cache
    lost         bigint NOT NULL CHECK (lost >= 0),  -- of these, sent again although they should have been there
    cost         bigint NOT NULL CHECK (cost >= 0),  -- nano-dollars that this cost beyond reading them
    broke        text NOT NULL              -- the first difference from the last request; '' = not looked at
);

CREATE INDEX cache_turn_run ON crewcap.cache_turn (run) WHERE run <> '';
CREATE INDEX cache_turn_key ON crewcap.cache_turn (virtual_key);
