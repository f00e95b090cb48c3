"""Runs and their stories, in the same file as the ledger.

A run is one row with its whole document, and a few columns that must be searched or unique. Its state moves only
as `core.runs.TRANSITIONS` says: `save` looks at the row that it replaces, in the same transaction.

    slots        places that runs take from one another     words   what is said to a run
    workers      who lives, ticks of schedules, who may do something alone
    follow_ups   what is written at its issue

One connection serves all threads, one at a time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from crewcap.core.budget import Scope
from crewcap.core.runs import OPEN_STATES, Run, RunId, Word, WordKind
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores import FollowUp, LoggedEvent, Tick, WorkerSeen
from crewcap.stores.clock import micros
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
from crewcap.stores.sqlite import follow_ups as sqlite_follow_ups
from crewcap.stores.sqlite import slots as sqlite_slots
from crewcap.stores.sqlite import words
from crewcap.stores.sqlite import workers as sqlite_workers
from crewcap.stores.sqlite.books import translated
from crewcap.stores.sqlite.opened import OpenedFile

_WAIT_S = 20.0  # a disk that others keep busy makes each of several writers wait for seconds
_OPEN = "SELECT document FROM run WHERE tracker = ? AND issue = ? AND is_open = 1"
_STARTED_BY = "SELECT document FROM run WHERE started_by = ? AND started_by <> ''"
_NUMBER = "SELECT coalesce(max(number), 0) + 1 FROM run WHERE slug = ?"
_ADD = """
INSERT INTO run (id, slug, number, tracker, issue, state, is_open, created_at, document, started_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_BEFORE = "SELECT state, is_open, document FROM run WHERE id = ?"
_SAVE = "UPDATE run SET state = ?, is_open = ?, document = ? WHERE id = ?"
_GET = "SELECT document FROM run WHERE id = ?"
_NAMED = "SELECT document FROM run WHERE id = ?1 OR slug || '.' || number = ?1"
_BEGINS = """
SELECT document FROM run
WHERE substr(slug || '.' || number, 1, length(?1)) = ?1 OR substr(id, 1, length(?1)) = ?1
ORDER BY created_at DESC
"""
_NEWEST = "SELECT document FROM run ORDER BY created_at DESC, rowid DESC LIMIT ?"
_NEWEST_OPEN = "SELECT document FROM run WHERE is_open = 1 ORDER BY created_at DESC, rowid DESC LIMIT ?"
_LOG = "INSERT INTO run_event (run, at, kind, text, data) VALUES (?, ?, ?, ?, ?)"
_STORY = "SELECT seq, at, kind, text, data FROM run_event WHERE run = ? AND seq > ? ORDER BY seq"


class SqliteRuns:
    """`RunStore` on the home's ledger file; the ledger has made the tables."""

    def __init__(self, home: Home, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._home = home
        self._lock = threading.RLock()
        with translated(home.ledger):
            self._db = sqlite3.connect(home.ledger, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA foreign_keys = ON")
        self._file = OpenedFile.at(home.ledger)

    def create(self, run: Run) -> Run:
        """Store a new run and give it its number; `AlreadyTriggered` or `AlreadyOpen` where there is one."""
        slug, issue = run.name, (run.issue.tracker, run.issue.key)
        with self._transaction() as db:
            for started in _runs(db, _STARTED_BY, run.trigger):
                raise AlreadyTriggered(started)
            _refuse_second(db, issue)
            number = db.execute(_NUMBER, (slug,)).fetchone()[0]
            named = replace(run, name=f"{slug}.{number}")
            kept = (run.state, _is_open(run), run.created_at.isoformat(), dump(named), run.trigger)
            db.execute(_ADD, (run.id, slug, number, *issue, *kept))
        return named

    def save(self, run: Run, *, was: Run | None = None) -> None:
        """Replace what is known of a run; `WrongTransition` when its state may not follow the stored one."""
        with self._transaction() as db:
            row = db.execute(_BEFORE, (run.id,)).fetchone()
            if row is None:
                raise _unknown(run.name)
            before, was_open, stored = row
            refuse_overtaken(stored, run, was=was)
            refuse_wrong_move(before, run)
            if _is_open(run) and not was_open:
                _refuse_second(db, (run.issue.tracker, run.issue.key))
            if gives_back(before, run):
                sqlite_slots.give_back(db, run.id)
            db.execute(_SAVE, (run.state, _is_open(run), dump(keep_answer(run, stored)), run.id))

    def get(self, id_: RunId) -> Run | None:
        """By long id."""
        found = self._read(_GET, id_)
        return found[0] if found else None

    def find(self, text: str) -> Sequence[Run]:
        """By name or long id, else by a prefix of either; empty text = the latest run."""
        if not text:
            return self.list(limit=1)
        return self._read(_NAMED, text) or self._read(_BEGINS, text)

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        """Newest first."""
        return self._read(_NEWEST_OPEN if open_only else _NEWEST, limit)

    def log(self, run: RunId, kind: str, text: str, **data: str | float | bool) -> None:
        """Append one line to the story; control characters never reach it."""
        words = (kind, one_line(text), msgspec.json.encode(data).decode())
        with self._transaction() as db:  # it has its time when it has its turn, so a story's times go one way
            db.execute(_LOG, (run, self._clock().isoformat(), *words))

    def story(self, run: RunId, *, after: int = 0) -> Sequence[LoggedEvent]:
        """The story after a sequence number, oldest first."""
        with self._using() as db:
            rows = db.execute(_STORY, (run, after)).fetchall()
        return [
            LoggedEvent(seq=seq, at=datetime.fromisoformat(at), kind=kind, text=text, data=msgspec.json.decode(data))
            for seq, at, kind, text, data in rows
        ]

    def version(self) -> int:
        """The file's, which every other connection's commit changes, of runs and of money."""
        with self._using() as db:
            number: int = db.execute("PRAGMA data_version").fetchone()[0]
        return number

    # what is said to a run
    def say(self, run: RunId, kind: WordKind, text: str = "", *, by: str = "") -> int:
        """Leave a word for whoever drives a run; its number."""
        with self._transaction() as db:
            known = _known(db, run)
            return words.say(db, known.id, kind, text, by=by, at=micros(self._clock()))

    def unheard(self, run: RunId) -> Sequence[Word]:
        """Words that nobody has acted on, oldest first."""
        with self._using() as db:
            return words.unheard(db, run)

    def heard(self, run: RunId, *, upto: int) -> None:
        """These were acted on."""
        with self._using() as db:
            words.heard(db, run, upto)

    def answer(self, run: RunId, question: str, answer: str, *, by: str) -> Run:
        """Answer a run's open question, in one transaction with the look whether it is open."""
        with self._transaction() as db:
            told = answered(_known(db, run), question, answer, by=by, at=self._clock())
            db.execute(_SAVE, (told.state, _is_open(told), dump(told), told.id))
        return told

    # what is written at its issue
    def begin_follow_up(self, wanted: FollowUp) -> bool:
        """Take up what was written, once."""
        with self._using() as db:
            return sqlite_follow_ups.begin(db, wanted)

    def end_follow_up(self, done: FollowUp, reply: str) -> None:
        """What came of it; said twice, the first holds."""
        with self._using() as db:
            sqlite_follow_ups.end(db, done, reply)

    def follow_ups(self, tracker: str, issue: str) -> Sequence[FollowUp]:
        """Everything that was taken up of an issue, oldest first."""
        with self._using() as db:
            return sqlite_follow_ups.follow_ups(db, tracker, issue)

    def is_from_here(self, run: RunId) -> bool:
        """Every run of this file is."""
        return self.get(run) is not None

    # slots
    def admit(self, run: RunId, *, slots: Mapping[Scope, int]) -> Scope | None:
        """Take a place in every scope of a queued run, all or none; the scope that is full, or None."""
        with self._transaction() as db:
            known = _known(db, run)
            refuse_unless_queued(known)
            return sqlite_slots.take(db, known, slots)

    def give_back(self, run: RunId) -> None:
        """Give back a run's places before it has begun."""
        with self._using() as db:
            sqlite_slots.give_back(db, run)

    def taken(self) -> Mapping[Scope, int]:
        """How many runs have a place, by scope."""
        with self._using() as db:
            return sqlite_slots.taken(db)

    def admitted(self) -> frozenset[RunId]:
        """Runs that have their places."""
        with self._using() as db:
            return sqlite_slots.admitted(db)

    # schedules
    def note_tick(self, tick: Tick) -> bool:
        """Remember what came of a tick, once; False where that is known already."""
        with self._using() as db:
            return sqlite_workers.note_tick(db, tick)

    def ticks(self, schedule: str, *, limit: int = 1) -> Sequence[Tick]:
        """A schedule's newest ticks, newest first."""
        with self._using() as db:
            return sqlite_workers.ticks(db, schedule, limit)

    # workers
    def beat(self, worker: str, *, version: str) -> bool:
        """This worker is alive, by our clock: on this file there is one machine."""
        with self._using() as db:
            return sqlite_workers.beat(db, worker, version=version, at=micros(self._clock()))

    def workers(self, *, silent_s: float | None = None) -> Sequence[WorkerSeen]:
        """Workers that are known, or those that have been silent for longer than this."""
        before = None if silent_s is None else micros(self._clock() - timedelta(seconds=silent_s))
        with self._using() as db:
            return sqlite_workers.workers(db, before=before)

    def forget_worker(self, worker: str) -> None:
        """It is gone and nothing of it is left."""
        with self._using() as db:
            sqlite_workers.forget_worker(db, worker)

    def alone(self, name: str) -> AbstractContextManager[bool]:
        """Whether this process is the only one that does something now."""
        return sqlite_workers.alone(self._home, name)

    def close(self) -> None:
        """Close the file."""
        with self._lock, translated(self._home.ledger):
            self._db.close()

    def _read(self, sql: str, value: str | int) -> Sequence[Run]:
        with self._using() as db:
            return _runs(db, sql, value)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone, to the books that are here now."""
        with self._lock, translated(self._home.ledger):
            self._file.refuse_replaced()
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, with the write lock from the start."""
        with self._using() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite may have undone it by itself, as on a full disk
                    db.execute("ROLLBACK")
                raise


def _runs(db: sqlite3.Connection, sql: str, *values: Any) -> Sequence[Run]:
    return [load(document) for (document,) in db.execute(sql, values)]


def _known(db: sqlite3.Connection, run: RunId) -> Run:
    for found in _runs(db, _GET, run):
        return found
    raise _unknown(run)


def _unknown(name: str) -> LedgerError:
    return LedgerError(f"run {name} is not in the books")


def _refuse_second(db: sqlite3.Connection, issue: tuple[str, str]) -> None:
    for other in _runs(db, _OPEN, *issue):
        raise AlreadyOpen(other)


def _is_open(run: Run) -> int:
    return int(run.state in OPEN_STATES)
