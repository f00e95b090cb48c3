-- Answers that broke what holds rest on: no capped request goes to their provider until somebody has looked.

CREATE TABLE incident (
    id        INTEGER PRIMARY KEY,
    provider  TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    thawed_at INTEGER,                   -- when somebody had looked
    word      TEXT NOT NULL DEFAULT ''   -- what they said
) STRICT;

-- One that is not over for each provider: further ones say nothing new.
CREATE UNIQUE INDEX incident_open ON incident (provider) WHERE thawed_at IS NULL;

CREATE TRIGGER incident_is_kept BEFORE DELETE ON incident
BEGIN SELECT RAISE(ABORT, 'incidents are never deleted'); END;
CREATE TRIGGER incident_ends_once BEFORE UPDATE ON incident
WHEN OLD.thawed_at IS NOT NULL OR NEW.thawed_at IS NULL
    OR NEW.id <> OLD.id OR NEW.provider <> OLD.provider OR NEW.reason <> OLD.reason OR NEW.at <> OLD.at
BEGIN SELECT RAISE(ABORT, 'an incident is only ended, once'); END;
