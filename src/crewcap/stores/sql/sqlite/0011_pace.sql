-- The same books with less work for each movement. SQLite makes a small tree in memory for every list that a statement
-- looks things up in, and one for the rows that it is going to change: four for each movement, and one here.

-- The rows of a scope that an instant may fall in, in whatever window: those that are over are not looked at.
CREATE INDEX budget_now ON budget (scope, ends_at, starts_at);

DROP TRIGGER movement_books;
DROP TRIGGER movement_changes;

-- Every budget of the hold's scopes whose window contains the instant that the hold was booked at, whenever this is.
CREATE TRIGGER movement_books AFTER INSERT ON movement
WHEN NEW.held_delta <> 0 OR NEW.uncertain_delta <> 0 OR NEW.spent_delta <> 0
BEGIN
    UPDATE budget SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        spent = spent + NEW.spent_delta
    FROM hold AS h CROSS JOIN key_scope AS s ON s.key = h.key
    WHERE h.seq = NEW.hold
        AND budget.scope = s.scope AND budget.ends_at > h.booked_at AND budget.starts_at <= h.booked_at;
END;

-- A hold that is closed with nothing left to prove is open no more.
CREATE TRIGGER movement_changes AFTER INSERT ON movement
WHEN NEW.kind NOT IN ('sent', 'corrected')
BEGIN
    DELETE FROM open_hold
    WHERE hold = NEW.hold AND (closed OR NEW.kind <> 'shrunk') AND uncertain + NEW.uncertain_delta = 0;
    UPDATE open_hold SET
        held = held + NEW.held_delta,
        uncertain = uncertain + NEW.uncertain_delta,
        shrunk = shrunk OR NEW.kind = 'shrunk',
        closed = closed OR NEW.kind <> 'shrunk'
    WHERE hold = NEW.hold;
END;
