"""What people wrote at issues for crewcap, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from crewcap.core.runs import RunId
from crewcap.stores import FollowUp
from crewcap.stores.clock import instant, micros
from crewcap.stores.run_rows import as_said, one_line

_BEGIN = """
INSERT INTO follow_up (tracker, issue, id, run, attempt, at, kind, by, text, reply, is_done)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0) ON CONFLICT DO NOTHING
"""
_END = "UPDATE follow_up SET reply = ?, is_done = 1 WHERE tracker = ? AND issue = ? AND id = ? AND is_done = 0"
_ALL = """
SELECT id, run, attempt, at, kind, by, text, reply, is_done FROM follow_up
WHERE tracker = ? AND issue = ? ORDER BY seq
"""


def begin(db: sqlite3.Connection, wanted: FollowUp) -> bool:
    """Take it up, once."""
    place = (wanted.tracker, wanted.issue, wanted.id)
    row = (wanted.run, wanted.attempt, micros(wanted.at), wanted.kind, one_line(wanted.by), as_said(wanted.text))
    return db.execute(_BEGIN, (*place, *row)).rowcount == 1


def end(db: sqlite3.Connection, done: FollowUp, reply: str) -> None:
    """What came of it."""
    db.execute(_END, (one_line(reply), done.tracker, done.issue, done.id))


def follow_ups(db: sqlite3.Connection, tracker: str, issue: str) -> Sequence[FollowUp]:
    """Oldest first."""
    return [
        FollowUp(
            tracker=tracker,
            issue=issue,
            id=id_,
            run=RunId(run),
            attempt=attempt,
            at=instant(at),
            kind=kind,
            by=by,
            text=text,
            reply=reply,
            is_done=bool(is_done),
        )
        for id_, run, attempt, at, kind, by, text, reply, is_done in db.execute(_ALL, (tracker, issue))
    ]
