"""Runs and their stories, in the same database as the ledger.

Money and names are everybody's: a name is given once, and an issue has one open run, whichever machine it is on. A run
that its own command drives has its workspace and process on one machine, so its home alone sees it. A run that workers
drive is every home's.

    slots        places that runs take from one another     words   what is said to a run
    workers      who lives, ticks of schedules, who may do something alone
    follow_ups   what is written at its issue

Of the locks, the one of places is taken before a run's row, the one of issues after it; nothing takes both.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from crewcap.core.budget import Scope
from crewcap.core.runs import OPEN_STATES, Run, RunId, Word, WordKind
from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home
from crewcap.stores import FollowUp, LoggedEvent, Tick, WorkerSeen
from crewcap.stores.clock import micros
from crewcap.stores.postgres import follow_ups as postgres_follow_ups
from crewcap.stores.postgres import slots as postgres_slots
from crewcap.stores.postgres import words
from crewcap.stores.postgres import workers as postgres_workers
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.wire import Connection, Transaction
from crewcap.stores.run_rows import (
    AlreadyOpen,
    AlreadyTriggered,
    answered,
    dump,
    gives_back,
    keep_answer,
    load,
    one_line,
    refuse_overtaken,
    refuse_unless_queued,
    refuse_wrong_move,
)

_WAIT_S = 10.0
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(1128489328, 2)"
_OF_ISSUE = "SELECT document, home, machine, is_hosted FROM crewcap.run WHERE tracker = $1 AND issue = $2 AND is_open"
_STARTED_BY = "SELECT document FROM crewcap.run WHERE started_by = $1 AND started_by <> ''"
_NUMBER = "SELECT coalesce(max(number), 0) + 1 FROM crewcap.run WHERE slug = $1"
_ADD = """
INSERT INTO crewcap.run (
    id, slug, number, tracker, issue, state, is_open, created_at, document, started_by, is_hosted, home, machine
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_BEFORE = "SELECT state, is_open, document FROM crewcap.run WHERE id = $1 FOR UPDATE"
_SAVE = """
UPDATE crewcap.run SET state = $2, is_open = $3, document = $4, is_hosted = $5,
    home = CASE WHEN $5 THEN home ELSE $6 END, machine = CASE WHEN $5 THEN machine ELSE $7 END
WHERE id = $1
"""
_ANSWER = "UPDATE crewcap.run SET document = $2 WHERE id = $1"
_GET = "SELECT document FROM crewcap.run WHERE (home = $1 OR is_hosted) AND id = $2"
_NAMED = "SELECT document FROM crewcap.run WHERE (home = $1 OR is_hosted) AND (id = $2 OR slug || '.' || number = $2)"
_BEGINS = """
SELECT document FROM crewcap.run
WHERE (home = $1 OR is_hosted) AND (starts_with(slug || '.' || number, $2) OR starts_with(id, $2))
ORDER BY created_at COLLATE "C" DESC, seq DESC
"""
_NEWEST = """
SELECT document FROM crewcap.run WHERE home = $1 OR is_hosted
ORDER BY created_at COLLATE "C" DESC, seq DESC LIMIT $2
"""
_NEWEST_OPEN = """
SELECT document FROM crewcap.run WHERE (home = $1 OR is_hosted) AND is_open
ORDER BY created_at COLLATE "C" DESC, seq DESC LIMIT $2
"""
_IS_FROM_HERE = "SELECT home = $1 FROM crewcap.run WHERE id = $2"
_LOG = "INSERT INTO crewcap.run_event (run, at, kind, text, data) VALUES ($1, $2, $3, $4, $5)"
_VERSION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_STORY = "SELECT seq, at, kind, text, data FROM crewcap.run_event WHERE run = $1 AND seq > $2 ORDER BY seq"


class PostgresRuns:
    """`RunStore` in the ledger's database; the ledger was opened first, because it knows the schema."""

    def __init__(self, home: Home, url: str, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._home = _name_of(home)
        self._url = url
        self._session = Session(url, lock_s=_WAIT_S)

    def create(self, run: Run) -> Run:
        """Store a new run and give it its number; `AlreadyTriggered` or `AlreadyOpen` where there is one."""
        return self._session.run(lambda db: self._create(db, run), again=False)

    def save(self, run: Run, *, was: Run | None = None) -> None:
        """Replace what is known of a run; `WrongTransition` when its state may not follow the stored one."""
        self._session.run(lambda db: self._save(db, run, was), again=True)

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
        return self._runs(_NEWEST_OPEN if open_only else _NEWEST, limit)

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

    # what is said to a run
    def say(self, run: RunId, kind: WordKind, text: str = "", *, by: str = "") -> int:
        """Leave a word for whoever drives a run, on whichever machine; its number."""
        return self._session.run(lambda db: self._say(db, run, kind, text, by), again=False)

    def unheard(self, run: RunId) -> Sequence[Word]:
        """Words that nobody has acted on, oldest first."""
        return self._session.run(lambda db: words.unheard(db, run), again=True)

    def heard(self, run: RunId, *, upto: int) -> None:
        """These were acted on."""
        self._session.run(lambda db: words.heard(db, run, upto), again=True)

    def answer(self, run: RunId, question: str, answer: str, *, by: str) -> Run:
        """Answer a run's open question, in one transaction with the look whether it is open."""
        return self._session.run(lambda db: self._answer(db, run, question, answer, by), again=False)

    # what is written at its issue
    def begin_follow_up(self, wanted: FollowUp) -> bool:
        """Take up what was written, once."""
        return self._session.run(lambda db: postgres_follow_ups.begin(db, wanted), again=False)

    def end_follow_up(self, done: FollowUp, reply: str) -> None:
        """What came of it; said twice, the first holds."""
        self._session.run(lambda db: postgres_follow_ups.end(db, done, reply), again=True)

    def follow_ups(self, tracker: str, issue: str) -> Sequence[FollowUp]:
        """Everything that was taken up of an issue, oldest first."""
        return self._session.run(lambda db: postgres_follow_ups.follow_ups(db, tracker, issue), again=True)

    def is_from_here(self, run: RunId) -> bool:
        """Whether a run was written down in this home."""
        return bool(self._session.run(lambda db: db.fetchval(_IS_FROM_HERE, self._home, run), again=True))

    # slots
    def admit(self, run: RunId, *, slots: Mapping[Scope, int]) -> Scope | None:
        """Take a place in every scope of a queued run, all or none; the scope that is full, or None."""
        return self._session.run(lambda db: _admit(db, run, slots), again=True)

    def give_back(self, run: RunId) -> None:
        """Give back a run's places before it has begun."""
        self._session.run(lambda db: postgres_slots.give_back(db, run), again=True)

    def taken(self) -> Mapping[Scope, int]:
        """How many runs have a place, by scope."""
        return self._session.run(postgres_slots.taken, again=True)

    def admitted(self) -> frozenset[RunId]:
        """Runs that have their places."""
        return self._session.run(postgres_slots.admitted, again=True)

    # schedules
    def note_tick(self, tick: Tick) -> bool:
        """Remember what came of a tick, once; False where that is known already."""
        return self._session.run(lambda db: postgres_workers.note_tick(db, tick), again=False)

    def ticks(self, schedule: str, *, limit: int = 1) -> Sequence[Tick]:
        """A schedule's newest ticks, newest first."""
        return self._session.run(lambda db: postgres_workers.ticks(db, schedule, limit), again=True)

    # workers
    def beat(self, worker: str, *, version: str) -> bool:
        """This worker is alive, by the database's clock; said twice it is said as once."""
        return self._session.run(lambda db: postgres_workers.beat(db, worker, version), again=True)

    def workers(self, *, silent_s: float | None = None) -> Sequence[WorkerSeen]:
        """Workers that are known, or those that have been silent for longer than this."""
        return self._session.run(lambda db: postgres_workers.workers(db, silent_s), again=True)

    def forget_worker(self, worker: str) -> None:
        """It is gone and nothing of it is left."""
        self._session.run(lambda db: postgres_workers.forget_worker(db, worker), again=True)

    def alone(self, name: str) -> AbstractContextManager[bool]:
        """Whether this process is the only one, on any machine, that does something now."""
        return postgres_workers.alone(self._url, name, lock_s=_WAIT_S)

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _runs(self, sql: str, *values: Any) -> Sequence[Run]:
        rows = self._session.run(lambda db: db.fetch(sql, self._home, *values), again=True)
        return [load(row["document"]) for row in rows]

    async def _create(self, db: Connection, run: Run) -> Run:
        slug, issue = run.name, (run.issue.tracker, run.issue.key)
        async with _transaction(db):
            await db.execute(_ONE_AT_A_TIME)
            started = await db.fetchval(_STARTED_BY, run.trigger)
            if started is not None:
                raise AlreadyTriggered(load(started))
            await self._refuse_second(db, issue)
            number = await db.fetchval(_NUMBER, slug)
            named = replace(run, name=f"{slug}.{number}")
            where = (run.trigger, run.hosted, self._home, socket.gethostname())
            kept = (run.state.value, _is_open(run), run.created_at.isoformat(), dump(named))
            await db.execute(_ADD, run.id, slug, number, *issue, *kept, *where)
        return named

    async def _save(self, db: Connection, run: Run, was: Run | None) -> None:
        async with _transaction(db):
            before = await db.fetchrow(_BEFORE, run.id)
            if before is None:
                raise _unknown(run.name)
            refuse_overtaken(before["document"], run, was=was)
            refuse_wrong_move(before["state"], run)
            if _is_open(run) and not before["is_open"]:
                await db.execute(_ONE_AT_A_TIME)
                await self._refuse_second(db, (run.issue.tracker, run.issue.key))
            if gives_back(before["state"], run):
                await postgres_slots.give_back(db, run.id)
            kept = (run.state.value, _is_open(run), dump(keep_answer(run, before["document"])))
            await db.execute(_SAVE, run.id, *kept, run.hosted, self._home, socket.gethostname())

    async def _say(self, db: Connection, run: RunId, kind: WordKind, text: str, by: str) -> int:
        async with _transaction(db):
            known = await _known(db, run)
            return await words.say(db, known.id, kind, text, by=by, at=micros(self._clock()))

    async def _answer(self, db: Connection, run: RunId, question: str, answer: str, by: str) -> Run:
        async with _transaction(db):
            told = answered(await _known(db, run), question, answer, by=by, at=self._clock())
            await db.execute(_ANSWER, told.id, dump(told))
        return told

    async def _refuse_second(self, db: Connection, issue: tuple[str, str]) -> None:
        other = await db.fetchrow(_OF_ISSUE, *issue)
        if other is not None:
            raise self._taken(other)

    def _taken(self, other: Any) -> UsageError:
        run = load(other["document"])
        if other["is_hosted"] or other["home"] == self._home:
            return AlreadyOpen(run)
        return UsageError(
            f"{run.name} is open for this issue on {other['machine']} ({run.state})",
            help=f"go on with it there, or end it there: crewcap stop {run.name}",
        )


async def _admit(db: Connection, run: RunId, slots: Mapping[Scope, int]) -> Scope | None:
    async with _transaction(db):
        await db.execute(postgres_slots.ONE_AT_A_TIME)
        known = await _known(db, run)
        refuse_unless_queued(known)
        return await postgres_slots.take(db, known, slots)


async def _known(db: Connection, run: RunId) -> Run:
    """The run as it is, and as it stays until the end of the transaction."""
    row = await db.fetchrow(_BEFORE, run)
    if row is None:
        raise _unknown(run)
    return load(row["document"])


def _transaction(db: Connection) -> Transaction:
    """Each statement sees what was committed before it, whatever the server's own default is: locks rest on that."""
    return db.transaction(isolation="read_committed")


def _unknown(name: str) -> LedgerError:
    return LedgerError(f"run {name} is not in the books")


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
