"""What people wrote at issues for crewcap, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from crewcap.core.runs import RunId
from crewcap.stores import FollowUp
from crewcap.stores.clock import instant, micros
from crewcap.stores.postgres.wire import Connection
from crewcap.stores.run_rows import as_said, one_line

_BEGIN = """
INSERT INTO crewcap.follow_up (tracker, issue, id, run, attempt, at, kind, by, text, reply, is_done)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', false) ON CONFLICT DO NOTHING RETURNING true
"""
_END = """
UPDATE crewcap.follow_up SET reply = $1, is_done = true
WHERE tracker = $2 AND issue = $3 AND id = $4 AND NOT is_done
"""
_ALL = """
SELECT id, run, attempt, at, kind, by, text, reply, is_done FROM crewcap.follow_up
WHERE tracker = $1 AND issue = $2 ORDER BY seq
"""


async def begin(db: Connection, wanted: FollowUp) -> bool:
    """Take it up, once."""
    place = (wanted.tracker, wanted.issue, wanted.id)
    row = (wanted.run, wanted.attempt, micros(wanted.at), wanted.kind, one_line(wanted.by), as_said(wanted.text))
    return bool(await db.fetchval(_BEGIN, *place, *row))


async def end(db: Connection, done: FollowUp, reply: str) -> None:
    """What came of it."""
    await db.execute(_END, one_line(reply), done.tracker, done.issue, done.id)


async def follow_ups(db: Connection, tracker: str, issue: str) -> Sequence[FollowUp]:
    """Oldest first."""
    return [
        FollowUp(
            tracker=tracker,
            issue=issue,
            id=row["id"],
            run=RunId(row["run"]),
            attempt=row["attempt"],
            at=instant(row["at"]),
            kind=row["kind"],
            by=row["by"],
            text=row["text"],
            reply=row["reply"],
            is_done=row["is_done"],
        )
        for row in await db.fetch(_ALL, tracker, issue)
    ]
