-- The books of a home whose last crewcap knew migrations 0001 to 0008: its `crewcap run` was killed in the middle of
-- an agent's work. @SHOP@ is the repository's path, @BASE@ the commit that the run started from.
PRAGMA application_id = 1128489328;
PRAGMA user_version = 0;
BEGIN TRANSACTION;
CREATE TABLE beside_change (
    id     INTEGER PRIMARY KEY,
    scope  TEXT NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('tpm', 'rpm', 'concurrent', 'runs', 'tokens', 'hours')),
    window TEXT NOT NULL CHECK (window IN ('', 'total', 'day', 'week', 'month')),
    source TEXT NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    value  INTEGER CHECK (value >= 0 AND value <= CASE window WHEN '' THEN 10000000000 ELSE 1000000000000000 END),
    at     INTEGER NOT NULL,
    CHECK ((window = '') = (kind IN ('tpm', 'rpm', 'concurrent')))
) STRICT;
CREATE TABLE beside_in_force (
    scope   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    window  TEXT NOT NULL,
    value   INTEGER NOT NULL,
    source  TEXT NOT NULL,
    version INTEGER NOT NULL,  -- the change that made it so
    PRIMARY KEY (scope, kind, window)
) STRICT, WITHOUT ROWID;
CREATE TABLE boot (
    id         TEXT PRIMARY KEY,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "boot" VALUES('boot-bc62060504376d7e',1856,1795393262204261,1795393267053330);
CREATE TABLE bucket (
    scope TEXT NOT NULL,
    kind  TEXT NOT NULL CHECK (kind IN ('tpm', 'rpm')),
    value INTEGER NOT NULL,
    level INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    since INTEGER NOT NULL,  -- the newest movement when it was made
    taken INTEGER NOT NULL,  -- tokens or requests, of all movements after that one
    PRIMARY KEY (scope, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE budget (
    id         INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL,
    label      TEXT NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    limit_nano INTEGER NOT NULL,
    spent      INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    uncertain  INTEGER NOT NULL,
    UNIQUE (scope, window, label)
) STRICT;
INSERT INTO "budget" VALUES(1,'run:01m82we4t1cfpapwjsx7','total','total',0,253370764800000000,5000000000,3390000,0,0);
INSERT INTO "budget" VALUES(2,'issue:prompt/seconds-60-asking-please','total','total',0,253370764800000000,10000000000,3390000,0,0);
INSERT INTO "budget" VALUES(3,'all','day','2026-11-23@UTC',1795392000000000,1795478400000000,25000000000,3390000,0,0);
CREATE TABLE bundle (
    quarter    INTEGER NOT NULL,  -- of an hour, since 1970
    key        TEXT NOT NULL,
    provider   TEXT NOT NULL,
    model      TEXT NOT NULL,
    card       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    by_plan    INTEGER NOT NULL,
    subagent   INTEGER NOT NULL,
    pieces     TEXT NOT NULL,     -- of each of its requests
    requests   INTEGER NOT NULL,
    spent      INTEGER NOT NULL,
    uncertain  INTEGER NOT NULL,
    notional   INTEGER NOT NULL,
    input      INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    write_5m   INTEGER NOT NULL,
    write_1h   INTEGER NOT NULL,
    output     INTEGER NOT NULL,
    thinking   INTEGER NOT NULL,
    PRIMARY KEY (quarter, key, provider, model, card, kind, size, by_plan, subagent, pieces)
) STRICT, WITHOUT ROWID;
CREATE TABLE bundled (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    through INTEGER NOT NULL  -- the newest movement that is in it
) STRICT;
INSERT INTO "bundled" VALUES(1,0);
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
CREATE TABLE card (
    id       TEXT PRIMARY KEY,
    document TEXT NOT NULL,  -- JSON, as `core.cards` writes it
    book     TEXT NOT NULL,  -- hash of the price book that it was first seen in
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "card" VALUES('9bccaafed4df','{"context_window":1000000,"id":"9bccaafed4df","image_tokens":4800,"max_output":128000,"model":"claude-sonnet-5","modifiers":{"geo":"global","speed":"standard","tier":"standard"},"per_piece":{"web_search":10000000000},"provider":"anthropic","rates":{"cache_read":200000,"input":2000000,"output":10000000,"write_1h":4000000,"write_5m":2500000},"tiers":[],"unpriced":[]}','8c0d24cc6242',1795393265674047);
CREATE TABLE hold (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    boot         TEXT NOT NULL REFERENCES boot (id),
    key          TEXT NOT NULL REFERENCES virtual_key (id),
    booked_at    INTEGER NOT NULL,  -- window time: all its movements count in the windows of this instant
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    provider     TEXT NOT NULL,
    model        TEXT NOT NULL,
    book         TEXT NOT NULL,
    prompt_bound INTEGER NOT NULL,
    output_limit INTEGER NOT NULL,
    asked_output INTEGER NOT NULL,
    agent        TEXT NOT NULL,
    parent_agent TEXT NOT NULL,
    notes        TEXT NOT NULL      -- JSON array
) STRICT;
INSERT INTO "hold" VALUES(1,'hold-18ea84a9a365a39780857fa6c3f4','boot-bc62060504376d7e','3690ea162ce7',1795393265600058,2312200,'anthropic','claude-sonnet-5','8c0d24cc6242',551,100,100,'','','[]');
INSERT INTO "hold" VALUES(2,'hold-18ea84a9c96b35ec95bb3430fb8c','boot-bc62060504376d7e','3690ea162ce7',1795393266246091,2312200,'anthropic','claude-sonnet-5','8c0d24cc6242',551,100,100,'','','[]');
INSERT INTO "hold" VALUES(3,'hold-18ea84a9eb97e05596dbd382b89d','boot-bc62060504376d7e','3690ea162ce7',1795393266797822,2312200,'anthropic','claude-sonnet-5','8c0d24cc6242',551,100,100,'','','[]');
CREATE TABLE incident (
    id        INTEGER PRIMARY KEY,
    provider  TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    thawed_at INTEGER,                   -- when somebody had looked
    word      TEXT NOT NULL DEFAULT ''   -- what they said
) STRICT;
CREATE TABLE key_scope (
    key   TEXT NOT NULL REFERENCES virtual_key (id),
    scope TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (key, scope)
) STRICT, WITHOUT ROWID;
INSERT INTO "key_scope" VALUES('3690ea162ce7','all',5);
INSERT INTO "key_scope" VALUES('3690ea162ce7','issue:prompt/seconds-60-asking-please',2);
INSERT INTO "key_scope" VALUES('3690ea162ce7','key:3690ea162ce7',0);
INSERT INTO "key_scope" VALUES('3690ea162ce7','repo:shop',3);
INSERT INTO "key_scope" VALUES('3690ea162ce7','run:01m82we4t1cfpapwjsx7',1);
INSERT INTO "key_scope" VALUES('3690ea162ce7','user:ana',4);
CREATE TABLE ledger (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    uuid              TEXT NOT NULL,
    made_at           INTEGER NOT NULL,
    zone              TEXT NOT NULL,
    clock_doubt       TEXT NOT NULL DEFAULT '',    -- why paid requests are refused until somebody accepts the clock
    clock_accepts     INTEGER NOT NULL DEFAULT 0,  -- rises with each word that the clock is right
    clock_accepted_at INTEGER NOT NULL DEFAULT 0,
    copied_at         INTEGER                      -- set in a backup: entries after it are missing from this copy
) STRICT;
INSERT INTO "ledger" VALUES(1,'b493e451-66da-45b2-9e79-0a754bbc475e',1795393254888451,'UTC','',0,0,NULL);
CREATE TABLE limit_change (
    id         INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL CHECK (window IN ('total', 'day', 'week', 'month')),
    source     TEXT NOT NULL CHECK (source IN ('default', 'file', 'command', 'run', 'key')),
    limit_nano INTEGER CHECK (limit_nano >= 0),
    at         INTEGER NOT NULL
) STRICT;
INSERT INTO "limit_change" VALUES(1,'all','day','default',25000000000,1795393255097542);
INSERT INTO "limit_change" VALUES(2,'run:01m82we4t1cfpapwjsx7','total','run',5000000000,1795393264967311);
INSERT INTO "limit_change" VALUES(3,'issue:prompt/seconds-60-asking-please','total','default',10000000000,1795393264990208);
CREATE TABLE limit_in_force (
    scope      TEXT NOT NULL,
    window     TEXT NOT NULL,
    limit_nano INTEGER NOT NULL,
    source     TEXT NOT NULL,
    version    INTEGER NOT NULL,  -- the change that made it so
    PRIMARY KEY (scope, window)
) STRICT, WITHOUT ROWID;
INSERT INTO "limit_in_force" VALUES('all','day',25000000000,'default',1);
INSERT INTO "limit_in_force" VALUES('issue:prompt/seconds-60-asking-please','total',10000000000,'default',3);
INSERT INTO "limit_in_force" VALUES('run:01m82we4t1cfpapwjsx7','total',5000000000,'run',2);
CREATE TABLE makeup (
    virtual_key  TEXT NOT NULL,
    quarter      INTEGER NOT NULL,
    model        TEXT NOT NULL,
    requests     INTEGER NOT NULL,
    tools        INTEGER NOT NULL,  -- definitions
    instructions INTEGER NOT NULL,  -- the system prompt
    prompts      INTEGER NOT NULL,  -- what people said
    files        INTEGER NOT NULL,  -- what was read, as far as its tools are known to read
    results      INTEGER NOT NULL,  -- of all other tools
    history      INTEGER NOT NULL,  -- what the model had said, thought and called before
    PRIMARY KEY (virtual_key, quarter, model)
) STRICT, WITHOUT ROWID;
INSERT INTO "makeup" VALUES('3690ea162ce7',1994881,'claude-sonnet-5',3,0,0,195,0,0,0);
CREATE TABLE migration (
    number   INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT
;
INSERT INTO "migration" VALUES(1,'0001_ledger.sql','a9958c18417b2c08ee471b6a44a8ada6bf4cfa1c9a51196ea0235ad69dc7c252');
INSERT INTO "migration" VALUES(2,'0002_runs.sql','83d76510648d0b8899b7979cc77bf131e3563eb773c17427089851e770799b64');
INSERT INTO "migration" VALUES(3,'0003_limits.sql','e668ff936698af09196e42425a2f3bc2da5245a0f573d5585c63d950c145641c');
INSERT INTO "migration" VALUES(4,'0004_incidents.sql','93da2d89f93fba551cc85d5b171033dacb40e7a648d5b05b5734e86093cf040c');
INSERT INTO "migration" VALUES(5,'0005_savings.sql','36464c891c679e48a64b424888a1dff1964b4d9e01c37e28e4c18862cdd28ff3');
INSERT INTO "migration" VALUES(6,'0006_bundles.sql','c47b263ed10c174597615a6e1f02335e440ea953bcad91ae91a59ad519c4f1a4');
INSERT INTO "migration" VALUES(7,'0007_batches.sql','b5d8a88eb44a3760dc36dd0e612ac70e458820cf854eb463e3a2979b640afdba');
INSERT INTO "migration" VALUES(8,'0008_corrections.sql','3d0cd68bcf0701b606bc63c40d86d23674ea223ea97eb1da35855a8cbbb9f429');
CREATE TABLE movement (
    id              INTEGER PRIMARY KEY,
    hold            INTEGER NOT NULL REFERENCES hold (seq),
    kind            TEXT NOT NULL CHECK (kind IN (
        'sent', 'shrunk', 'settled', 'released', 'uncertain', 'reconciled', 'corrected'
    )),
    held_delta      INTEGER NOT NULL,
    uncertain_delta INTEGER NOT NULL,
    spent_delta     INTEGER NOT NULL,
    notional_delta  INTEGER NOT NULL DEFAULT 0,  -- what a subscription would have cost; counts against no limit
    at              INTEGER NOT NULL,            -- window time, never falling
    wall            INTEGER NOT NULL,            -- the clock as it was trusted then
    input           INTEGER NOT NULL DEFAULT 0,
    cache_read      INTEGER NOT NULL DEFAULT 0,
    write_5m        INTEGER NOT NULL DEFAULT 0,
    write_1h        INTEGER NOT NULL DEFAULT 0,
    output          INTEGER NOT NULL DEFAULT 0,
    thinking        INTEGER NOT NULL DEFAULT 0,
    pieces          TEXT NOT NULL DEFAULT '{}',  -- JSON object
    model           TEXT NOT NULL DEFAULT '',    -- as answered
    card            TEXT NOT NULL DEFAULT '',
    request_id      TEXT NOT NULL DEFAULT '',
    status          INTEGER NOT NULL DEFAULT 0,
    reason          TEXT NOT NULL DEFAULT '',
    incident        TEXT NOT NULL DEFAULT '',
    raw_usage       TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO "movement" VALUES(1,1,'sent',2312200,0,0,0,1795393265600058,1795393265600058,0,0,0,0,0,0,'{}','','','',0,'','','');
INSERT INTO "movement" VALUES(2,1,'settled',-2312200,0,1130000,0,1795393265714533,1795393265714533,65,0,0,0,100,0,'{}','claude-sonnet-5','9bccaafed4df','',200,'','','{"input_tokens":65,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":100,"output_tokens_details":{"thinking_tokens":0},"service_tier":"standard","inference_geo":"global"}');
INSERT INTO "movement" VALUES(3,2,'sent',2312200,0,0,0,1795393266246091,1795393266246091,0,0,0,0,0,0,'{}','','','',0,'','','');
INSERT INTO "movement" VALUES(4,2,'settled',-2312200,0,1130000,0,1795393266260878,1795393266260878,65,0,0,0,100,0,'{}','claude-sonnet-5','9bccaafed4df','',200,'','','{"input_tokens":65,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":100,"output_tokens_details":{"thinking_tokens":0},"service_tier":"standard","inference_geo":"global"}');
INSERT INTO "movement" VALUES(5,3,'sent',2312200,0,0,0,1795393266797822,1795393266797822,0,0,0,0,0,0,'{}','','','',0,'','','');
INSERT INTO "movement" VALUES(6,3,'settled',-2312200,0,1130000,0,1795393266816923,1795393266816923,65,0,0,0,100,0,'{}','claude-sonnet-5','9bccaafed4df','',200,'','','{"input_tokens":65,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":100,"output_tokens_details":{"thinking_tokens":0},"service_tier":"standard","inference_geo":"global"}');
CREATE TABLE open_hold (
    hold      INTEGER PRIMARY KEY REFERENCES hold (seq),
    boot      TEXT NOT NULL,
    held      INTEGER NOT NULL,
    uncertain INTEGER NOT NULL,
    shrunk    INTEGER NOT NULL,
    closed    INTEGER NOT NULL
) STRICT;
CREATE TABLE refusal (
    id      INTEGER PRIMARY KEY,
    key     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    model   TEXT NOT NULL,
    needed  INTEGER NOT NULL,
    message TEXT NOT NULL
) STRICT;
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
INSERT INTO "run" VALUES('01m82we4t1cfpapwjsx7','seconds-60-asking-please',1,'prompt','seconds-60-asking-please','running',1,'2026-11-23T00:21:02.401642+00:00','{"id":"01m82we4t1cfpapwjsx7","name":"seconds-60-asking-please.1","issue":{"tracker":"prompt","key":"seconds-60-asking-please","title":"seconds=0 asking please","body":"seconds=0 asking please","labels":[],"author":"","cap":null,"source":"","notes":[]},"state":"running","repo":"shop","repo_path":"@SHOP@","base":"@BASE@","base_branch":"main","branch":"crewcap/seconds-60-asking-please-1","commit":"","agent":"claude","agent_version":"2.1.330","model":"claude-sonnet-5","because":"default; no route matched","cap":{"nano":5000000000},"cap_because":"your default","max_turns":40,"timeout_s":2700,"sandbox":"unconfined","session":"cb686c2b-4a93-403f-9ae2-267863f846b4","epoch":1,"verdict":null,"reason":"","turns":0,"check_before":{"result":"not_run","summary":"","seconds":0.0,"tail":""},"check_after":{"result":"not_run","summary":"","seconds":0.0,"tail":""},"commits":0,"files_changed":0,"lines_added":0,"lines_removed":0,"agent_seconds":0.0,"created_at":"2026-11-23T00:21:02.401642Z","started_at":"2026-11-23T00:21:03.132661Z","ended_at":null,"end":null,"cut":"","signal":0,"frozen":"","agents":"","merge":"","withheld":"","wrap_up":"","refused_before":0,"watched":[],"runaway":"","fixes":0,"owner_pid":1352,"owner_started":"3837266","effort":"","settings":{}}');
CREATE TABLE run_event (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    run  TEXT NOT NULL REFERENCES run (id),
    at   TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL                    -- JSON
) STRICT;
INSERT INTO "run_event" VALUES(1,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:03.136885+00:00','state','preparing','{}');
INSERT INTO "run_event" VALUES(2,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:04.152357+00:00','step','workspace: 2 files, branch crewcap/seconds-60-asking-please-1','{}');
INSERT INTO "run_event" VALUES(3,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:04.156805+00:00','step','check before: not checked: no check is set for this repository','{}');
INSERT INTO "run_event" VALUES(4,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:04.959213+00:00','state','running','{}');
INSERT INTO "run_event" VALUES(5,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:06.221215+00:00','agent','said working','{}');
INSERT INTO "run_event" VALUES(6,'01m82we4t1cfpapwjsx7','2026-11-23T00:21:06.779784+00:00','agent','said working','{}');
CREATE TABLE tally (
    id        INTEGER PRIMARY KEY,
    scope     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    window    TEXT NOT NULL,
    label     TEXT NOT NULL,  -- 2026-11@Europe/Berlin
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    used      INTEGER NOT NULL,
    UNIQUE (scope, kind, window, label)
) STRICT;
CREATE TABLE unpriced (
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    requests INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    message  TEXT NOT NULL,  -- of the last one
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE virtual_key (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    hash       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    models     TEXT NOT NULL,  -- JSON array
    max_output INTEGER,
    max_turns  INTEGER,
    capped     INTEGER NOT NULL CHECK (capped IN (0, 1)),
    run        TEXT NOT NULL,
    label      TEXT NOT NULL
, booked_at INTEGER) STRICT;
INSERT INTO "virtual_key" VALUES(1,'3690ea162ce7','a78f2d74a39fb9bfc95713be6cddf1edc4c480e5bad52fbe6505369db8282777',1795393264999320,1795396564999320,NULL,'[]',16000,40,1,'01m82we4t1cfpapwjsx7','seconds-60-asking-please.1',1795393264999419);
CREATE INDEX boot_living ON boot (id) WHERE ended_at IS NULL;
CREATE INDEX key_scope_by_scope ON key_scope (scope, key);
CREATE INDEX limit_change_by_scope ON limit_change (scope, window, source, id);
CREATE INDEX budget_by_end ON budget (scope, window, ends_at);
CREATE INDEX hold_by_key ON hold (key);
CREATE INDEX hold_by_time ON hold (booked_at);
CREATE INDEX refusal_by_key ON refusal (key);
CREATE TRIGGER budget_fence BEFORE UPDATE OF held ON budget
WHEN NEW.held > OLD.held AND NEW.spent + NEW.uncertain + NEW.held > NEW.limit_nano
BEGIN
    SELECT RAISE(ABORT, 'the fence: this hold would take a budget over its limit');
END;
CREATE TRIGGER hold_stays BEFORE UPDATE ON hold
BEGIN SELECT RAISE(ABORT, 'holds are never changed'); END;
CREATE TRIGGER hold_is_kept BEFORE DELETE ON hold
BEGIN SELECT RAISE(ABORT, 'holds are never deleted'); END;
CREATE TRIGGER key_scope_stays BEFORE UPDATE ON key_scope
BEGIN SELECT RAISE(ABORT, 'the scopes of a key are never changed'); END;
CREATE TRIGGER key_scope_is_kept BEFORE DELETE ON key_scope
BEGIN SELECT RAISE(ABORT, 'the scopes of a key are never deleted'); END;
CREATE TRIGGER limit_change_stays BEFORE UPDATE ON limit_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never changed'); END;
CREATE TRIGGER limit_change_is_kept BEFORE DELETE ON limit_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never deleted'); END;
CREATE TRIGGER refusal_stays BEFORE UPDATE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are never changed'); END;
CREATE TRIGGER refusal_is_kept BEFORE DELETE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are never deleted'); END;
CREATE TRIGGER virtual_key_is_kept BEFORE DELETE ON virtual_key
BEGIN SELECT RAISE(ABORT, 'keys are revoked, never deleted'); END;
CREATE TRIGGER virtual_key_stays BEFORE UPDATE ON virtual_key
WHEN OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
    OR NEW.hash <> OLD.hash OR NEW.created_at <> OLD.created_at OR NEW.expires_at IS NOT OLD.expires_at
    OR NEW.models <> OLD.models OR NEW.max_output IS NOT OLD.max_output OR NEW.max_turns IS NOT OLD.max_turns
    OR NEW.capped <> OLD.capped OR NEW.run <> OLD.run OR NEW.label <> OLD.label
BEGIN SELECT RAISE(ABORT, 'a key may only be revoked, once'); END;
CREATE UNIQUE INDEX run_open_issue ON run (tracker, issue) WHERE is_open = 1;
CREATE INDEX run_newest ON run (created_at);
CREATE INDEX run_event_run ON run_event (run, seq);
CREATE TRIGGER run_event_is_append_only BEFORE UPDATE ON run_event
BEGIN SELECT RAISE(ABORT, 'a run''s story is only appended to'); END;
CREATE INDEX beside_change_by_scope ON beside_change (scope, kind, window, source, id);
CREATE INDEX tally_by_end ON tally (scope, kind, ends_at);
CREATE INDEX virtual_key_by_time ON virtual_key (coalesce(booked_at, created_at)) WHERE run <> '';
CREATE TRIGGER beside_change_stays BEFORE UPDATE ON beside_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never changed'); END;
CREATE TRIGGER beside_change_is_kept BEFORE DELETE ON beside_change
BEGIN SELECT RAISE(ABORT, 'what was said of limits is never deleted'); END;
CREATE TRIGGER virtual_key_time_stays BEFORE UPDATE OF booked_at ON virtual_key
BEGIN SELECT RAISE(ABORT, 'a key''s time is never changed'); END;
CREATE UNIQUE INDEX incident_open ON incident (provider) WHERE thawed_at IS NULL;
CREATE TRIGGER incident_is_kept BEFORE DELETE ON incident
BEGIN SELECT RAISE(ABORT, 'incidents are never deleted'); END;
CREATE TRIGGER incident_ends_once BEFORE UPDATE ON incident
WHEN OLD.thawed_at IS NOT NULL OR NEW.thawed_at IS NULL
    OR NEW.id <> OLD.id OR NEW.provider <> OLD.provider OR NEW.reason <> OLD.reason OR NEW.at <> OLD.at
BEGIN SELECT RAISE(ABORT, 'an incident is only ended, once'); END;
CREATE INDEX cache_turn_run ON cache_turn (run) WHERE run <> '';
CREATE INDEX cache_turn_key ON cache_turn (virtual_key);
CREATE INDEX bundle_by_key ON bundle (key);
CREATE INDEX makeup_by_time ON makeup (quarter);
CREATE UNIQUE INDEX movement_once ON movement (hold, kind, CASE kind WHEN 'corrected' THEN id ELSE 0 END);
CREATE TRIGGER movement_meets_every_limit BEFORE INSERT ON movement
WHEN NEW.kind = 'sent' AND EXISTS (
    SELECT 1
    FROM hold AS h
    JOIN key_scope AS s ON s.key = h.key
    JOIN limit_in_force AS l ON l.scope = s.scope
    WHERE h.seq = NEW.hold AND NOT EXISTS (
        SELECT 1 FROM budget AS b
        WHERE b.scope = l.scope AND b.window = l.window AND b.ends_at > h.booked_at AND b.starts_at <= h.booked_at
    )
)
BEGIN
    SELECT RAISE(ABORT, 'the fence: a limit of this hold has no budget row');
END;
CREATE TRIGGER movement_opens_its_hold BEFORE INSERT ON movement
WHEN NEW.kind = 'sent' AND NOT EXISTS (
    SELECT 1 FROM hold AS h
    WHERE h.seq = NEW.hold AND h.amount = NEW.held_delta AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0
)
BEGIN
    SELECT RAISE(ABORT, 'a hold is opened with the amount that it was made for');
END;
CREATE TRIGGER movement_follows BEFORE INSERT ON movement
WHEN NEW.kind NOT IN ('sent', 'corrected') AND NOT EXISTS (
    SELECT 1 FROM open_hold AS o
    WHERE o.hold = NEW.hold AND CASE NEW.kind
        WHEN 'shrunk' THEN
            NOT o.closed AND NOT o.shrunk AND NEW.held_delta BETWEEN -o.held AND -1
            AND NEW.uncertain_delta = 0 AND NEW.spent_delta = 0
        WHEN 'reconciled' THEN
            o.closed AND NEW.held_delta = 0 AND NEW.uncertain_delta = -o.uncertain AND NEW.spent_delta >= 0
        ELSE
            NOT o.closed AND NEW.held_delta = -o.held AND NEW.uncertain_delta >= 0 AND NEW.spent_delta >= 0
    END
)
BEGIN
    SELECT RAISE(ABORT, 'this movement does not follow from what its hold is');
END;
CREATE TRIGGER movement_corrects BEFORE INSERT ON movement
WHEN NEW.kind = 'corrected' AND NOT (
    NEW.held_delta = 0 AND NEW.uncertain_delta = 0 AND NEW.notional_delta = 0 AND NEW.spent_delta <> 0
    AND EXISTS (SELECT 1 FROM movement AS c WHERE c.hold = NEW.hold AND c.kind = 'settled' AND c.notional_delta = 0)
    AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.hold = NEW.hold AND r.kind = 'reconciled')
    AND NOT EXISTS (SELECT 1 FROM open_hold AS o WHERE o.hold = NEW.hold)
    AND NEW.spent_delta + (SELECT sum(m.spent_delta) FROM movement AS m WHERE m.hold = NEW.hold) >= 0
)
BEGIN
    SELECT RAISE(ABORT, 'this correction does not follow from what its hold is');
END;
CREATE TRIGGER movement_opens AFTER INSERT ON movement
WHEN NEW.kind = 'sent'
BEGIN
    INSERT INTO open_hold (hold, boot, held, uncertain, shrunk, closed)
    SELECT h.seq, h.boot, NEW.held_delta, 0, 0, 0 FROM hold AS h WHERE h.seq = NEW.hold;
END;
CREATE TRIGGER movement_changes AFTER INSERT ON movement
WHEN NEW.kind NOT IN ('sent', 'corrected')
BEGIN
    UPDATE open_hold SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        shrunk = shrunk OR NEW.kind = 'shrunk',
        closed = closed OR NEW.kind <> 'shrunk'
    WHERE hold = NEW.hold;
    DELETE FROM open_hold WHERE hold = NEW.hold AND closed AND uncertain = 0;
END;
CREATE TRIGGER movement_books AFTER INSERT ON movement
BEGIN
    UPDATE budget SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        spent = spent + NEW.spent_delta
    WHERE id IN (
        SELECT b.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN budget AS b ON b.scope = s.scope AND b.window IN ('total', 'day', 'week', 'month')
            AND b.ends_at > h.booked_at AND b.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;
CREATE TRIGGER movement_stays BEFORE UPDATE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never changed'); END;
CREATE TRIGGER movement_is_kept BEFORE DELETE ON movement
BEGIN SELECT RAISE(ABORT, 'movements are never deleted'); END;
CREATE VIEW hold_tokens AS
SELECT h.seq AS hold, h.key, h.booked_at, h.prompt_bound + h.output_limit AS bound,
    min(1000000000000, CASE
        WHEN c.id IS NULL THEN h.prompt_bound + h.output_limit
        WHEN (c.kind = 'uncertain' OR c.uncertain_delta > 0) AND r.spent_delta IS NOT 0
            THEN max(h.prompt_bound + h.output_limit, c.input + c.cache_read + c.write_5m + c.write_1h + c.output)
        ELSE c.input + c.cache_read + c.write_5m + c.write_1h + c.output
    END) AS tokens
FROM hold AS h
JOIN movement AS m ON m.hold = h.seq AND m.kind = 'sent'
LEFT JOIN movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
LEFT JOIN movement AS r ON r.hold = h.seq AND r.kind = 'reconciled';
CREATE TRIGGER movement_uncounts BEFORE INSERT ON movement
WHEN NEW.kind = 'reconciled' AND EXISTS (SELECT 1 FROM tally)
BEGIN
    UPDATE tally SET used = used - (SELECT t.tokens FROM hold_tokens AS t WHERE t.hold = NEW.hold)
    WHERE id IN (
        SELECT y.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN tally AS y ON y.scope = s.scope AND y.kind = 'tokens'
            AND y.ends_at > h.booked_at AND y.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;
CREATE TRIGGER movement_counts AFTER INSERT ON movement
WHEN NEW.kind NOT IN ('shrunk', 'corrected') AND EXISTS (SELECT 1 FROM tally)
BEGIN
    UPDATE tally SET used = used + (
        SELECT t.tokens - CASE
            WHEN NEW.kind IN ('sent', 'reconciled') THEN 0
            ELSE min(1000000000000, t.bound)
        END
        FROM hold_tokens AS t WHERE t.hold = NEW.hold
    )
    WHERE id IN (
        SELECT y.id
        FROM hold AS h
        JOIN key_scope AS s ON s.key = h.key
        JOIN tally AS y ON y.scope = s.scope AND y.kind = 'tokens'
            AND y.ends_at > h.booked_at AND y.starts_at <= h.booked_at
        WHERE h.seq = NEW.hold
    );
END;
CREATE TRIGGER movement_takes AFTER INSERT ON movement
WHEN EXISTS (SELECT 1 FROM bucket)
    AND (NEW.kind = 'sent' OR NEW.input + NEW.write_5m + NEW.write_1h + NEW.output > 0)
BEGIN
    UPDATE bucket SET
        level = max(-4000000000000000000, CASE
            WHEN NEW.wall <= at THEN level
            WHEN (value * 60000000 - level) / max(value, 1) < NEW.wall - at THEN value * 60000000
            ELSE min(value * 60000000, level + value * (NEW.wall - at))
        END - 60000000 * CASE kind
            WHEN 'rpm' THEN 1
            ELSE min(10000000000, NEW.input + NEW.write_5m + NEW.write_1h + NEW.output)
        END),
        at = NEW.wall,
        taken = taken + CASE kind
            WHEN 'rpm' THEN 1
            ELSE min(10000000000, NEW.input + NEW.write_5m + NEW.write_1h + NEW.output)
        END
    WHERE kind = CASE NEW.kind WHEN 'sent' THEN 'rpm' ELSE 'tpm' END AND scope IN (
        SELECT s.scope FROM hold AS h JOIN key_scope AS s ON s.key = h.key
        WHERE h.seq = NEW.hold AND h.boot NOT LIKE 'batch-%'
    );
END;
CREATE VIEW told AS
SELECT m.id, h.booked_at / 900000000 AS quarter, h.booked_at, h.key, h.provider,
    coalesce(nullif(m.model, ''), nullif(c.model, ''), h.model) AS model, coalesce(nullif(m.card, ''), c.card, '') AS card,
    m.kind,
    (m.input + m.cache_read + m.write_5m + m.write_1h > 32000) + (m.input + m.cache_read + m.write_5m + m.write_1h > 100000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 128000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 199999)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 200000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 256000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 272000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 512000)
        + (m.input + m.cache_read + m.write_5m + m.write_1h > 524288) AS size,
    m.notional_delta <> 0 AS by_plan, h.agent <> '' AS subagent, m.pieces,
    m.kind NOT IN ('reconciled', 'corrected') AS requests, m.spent_delta AS spent, m.uncertain_delta AS uncertain,
    m.notional_delta AS notional, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking
FROM movement AS m
JOIN hold AS h ON h.seq = m.hold
LEFT JOIN movement AS c
    ON m.kind IN ('reconciled', 'corrected') AND c.hold = m.hold AND c.kind IN ('settled', 'released', 'uncertain')
WHERE m.kind IN ('settled', 'released', 'uncertain', 'reconciled', 'corrected');
CREATE TRIGGER card_stays BEFORE UPDATE ON card
BEGIN SELECT RAISE(ABORT, 'cards are never changed'); END;
CREATE TRIGGER card_is_kept BEFORE DELETE ON card
BEGIN SELECT RAISE(ABORT, 'cards are never deleted'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run_event',6);
COMMIT;
