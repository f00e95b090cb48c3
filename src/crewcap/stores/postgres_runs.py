"""Runs and their stories, in the same database as the ledger.

A run's workspace and process are on one machine, so each home sees its own runs; money and names are everybody's: a
name is given once, and an issue has one open run, whichever machine it is on.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from crewcap.core.runs import OPEN_STATES, Run, RunId
from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home
from crewcap.stores import LoggedEvent
from crewcap.stores.postgres_session import Session
from crewcap.stores.postgres_wire import Connection
from crewcap.stores.run_rows import AlreadyOpen, dump, load, one_line, refuse_wrong_move

_WAIT_S = 10.0
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(1128489328, 2)"
_OF_ISSUE = "SELECT document, home, machine FROM crewcap.run WHERE tracker = $1 AND issue = $2 AND is_open"
_NUMBER = "SELECT coalesce(max(number), 0) + 1 FROM crewcap.run WHERE slug = $1"
_ADD = """
INSERT INTO crewcap.run (id, slug, number, tracker, issue, state, is_open, created_at, document, home, machine)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_BEFORE = "SELECT state FROM crewcap.run WHERE id = $1 FOR UPDATE"
_SAVE = "UPDATE crewcap.run SET state = $2, is_open = $3, document = $4 WHERE id = $1"
_GET = "SELECT document FROM crewcap.run WHERE home = $1 AND id = $2"
_NAMED = "SELECT document FROM crewcap.run WHERE home = $1 AND (id = $2 OR slug || '.' || number = $2)"
_BEGINS = """
SELECT document FROM crewcap.run
WHERE home = $1 AND (starts_with(slug || '.' || number, $2) OR starts_with(id, $2))
ORDER BY created_at COLLATE "C" DESC, seq DESC
"""
_NEWEST = """
SELECT document FROM crewcap.run WHERE home = $1 AND (is_open OR NOT $2)
ORDER BY created_at COLLATE "C" DESC, seq DESC LIMIT $3
"""
_LOG = "INSERT INTO crewcap.run_event (run, at, kind, text, data) VALUES ($1, $2, $3, $4, $5)"
_VERSION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_STORY = "SELECT seq, at, kind, text, data FROM crewcap.run_event WHERE run = $1 AND seq > $2 ORDER BY seq"


class PostgresRuns:
    """`RunStore` in the ledger's database; the ledger was opened first, because it knows the schema."""

    def __init__(self, home: Home, url: str, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._home = _name_of(home)
        self._session = Session(url, lock_s=_WAIT_S)

    def create(self, run: Run) -> Run:
        """Store a new run and give it its number; `AlreadyOpen` when the issue has an open one."""
        return self._session.run(lambda db: self._create(db, run), again=False)

    def save(self, run: Run) -> None:
        """Replace what is known of a run; `WrongTransition` when its state may not follow the stored one."""
        self._session.run(lambda db: _save(db, run), again=True)

    def get(self, id_: RunId) -> Run | None:
        """By long id."""
        found = self._runs(_GET, id_)
        return found[0] if found else None

    def find(self, text: str) -> Sequence[Run]:
        """By name or long id, else by a prefix of either; empty text = the latest run."""
        if not text:
            return self.list(limit=1)
        return self._runs(_NAMED, text) or self._runs(_BEGINS, text)

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        """Newest first."""
        return self._runs(_NEWEST, open_only, limit)

    def log(self, run: RunId, kind: str, text: str, **data: str | float | bool) -> None:
        """Append one line to the story; control characters never reach it."""
        line = (run, self._clock().isoformat(), kind, one_line(text), msgspec.json.encode(data).decode())
        self._session.run(lambda db: db.execute(_LOG, *line), again=False)

    def story(self, run: RunId, *, after: int = 0) -> Sequence[LoggedEvent]:
        """The story after a sequence number, oldest first."""
        rows = self._session.run(lambda db: db.fetch(_STORY, run, after), again=True)
        return [
            LoggedEvent(
                seq=row["seq"],
                at=datetime.fromisoformat(row["at"]),
                kind=row["kind"],
                text=row["text"],
                data=msgspec.json.decode(row["data"]),
            )
            for row in rows
        ]

    def version(self) -> int:
        """The server's next transaction that writes: others' databases change it too, which costs one more look."""
        return int(self._session.run(lambda db: db.fetchval(_VERSION), again=True))

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _runs(self, sql: str, *values: Any) -> Sequence[Run]:
        rows = self._session.run(lambda db: db.fetch(sql, self._home, *values), again=True)
        return [load(row["document"]) for row in rows]

    async def _create(self, db: Connection, run: Run) -> Run:
        slug, issue = run.name, (run.issue.tracker, run.issue.key)
        async with db.transaction():
            await db.execute(_ONE_AT_A_TIME)
            other = await db.fetchrow(_OF_ISSUE, *issue)
            if other is not None:
                raise self._taken(other)
            number = await db.fetchval(_NUMBER, slug)
            named = replace(run, name=f"{slug}.{number}")
            where = (self._home, socket.gethostname())
            kept = (run.state.value, _is_open(run), run.created_at.isoformat(), dump(named))
            await db.execute(_ADD, run.id, slug, number, *issue, *kept, *where)
        return named

    def _taken(self, other: Any) -> UsageError:
        run = load(other["document"])
        if other["home"] == self._home:
            return AlreadyOpen(run)
        return UsageError(
            f"{run.name} is open for this issue on {other['machine']} ({run.state})",
            help=f"go on with it there, or end it there: crewcap stop {run.name}",
        )


async def _save(db: Connection, run: Run) -> None:
    async with db.transaction():
        before = await db.fetchval(_BEFORE, run.id)
        if before is None:
            raise LedgerError(f"run {run.name} is not in the books")
        refuse_wrong_move(before, run)
        await db.execute(_SAVE, run.id, run.state.value, _is_open(run), dump(run))


def _is_open(run: Run) -> bool:
    return run.state in OPEN_STATES


def _name_of(home: Home) -> str:
    """What tells this home from all others, for as long as it exists: machines and folders change their names."""
    path = home.root / "home.id"
    home.make()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(secrets.token_hex(8))
    except FileExistsError:
        pass
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror}", help="make room on that disk") from error
    name = path.read_text(encoding="ascii", errors="replace").strip()
    if not name:
        raise LedgerError(f"{path} is empty", help=f"remove {path}, if no run of this home is open")
    return name
