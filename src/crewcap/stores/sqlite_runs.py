"""Runs and their stories, in the same file as the ledger.

A run is one row with its whole document, and a few columns that must be searched or unique. Its state moves only
as `core.runs.TRANSITIONS` says: `save` looks at the row that it replaces, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import msgspec

from crewcap.core.runs import OPEN_STATES, Run, RunId
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores import LoggedEvent
from crewcap.stores.run_rows import AlreadyOpen, dump, load, one_line, refuse_wrong_move

_WAIT_S = 10.0


class SqliteRuns:
    """`RunStore` on the home's ledger file; the ledger has made the tables."""

    def __init__(self, home: Home, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._db = sqlite3.connect(home.ledger, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA foreign_keys = ON")

    def create(self, run: Run) -> Run:
        """Store a new run and give it its number; `AlreadyOpen` when the issue has an open one."""
        slug = run.name
        with self._transaction():
            other = self._one("SELECT document FROM run WHERE tracker = ? AND issue = ? AND is_open = 1", _issue(run))
            if other is not None:
                raise AlreadyOpen(other)
            row = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM run WHERE slug = ?", (slug,)).fetchone()
            named = replace(run, name=f"{slug}.{row[0]}")
            self._db.execute(
                "INSERT INTO run (id, slug, number, tracker, issue, state, is_open, created_at, document) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id,
                    slug,
                    row[0],
                    *_issue(run),
                    run.state,
                    _is_open(run),
                    run.created_at.isoformat(),
                    dump(named),
                ),
            )
        return named

    def save(self, run: Run) -> None:
        """Replace what is known of a run; `WrongTransition` when its state may not follow the stored one."""
        with self._transaction():
            row = self._db.execute("SELECT state FROM run WHERE id = ?", (run.id,)).fetchone()
            if row is None:
                raise LedgerError(f"run {run.name} is not in the books")
            refuse_wrong_move(row["state"], run)
            self._db.execute(
                "UPDATE run SET state = ?, is_open = ?, document = ? WHERE id = ?",
                (run.state, _is_open(run), dump(run), run.id),
            )

    def get(self, id_: RunId) -> Run | None:
        """By long id."""
        return self._one("SELECT document FROM run WHERE id = ?", (id_,))

    def find(self, text: str) -> Sequence[Run]:
        """By name or long id, else by a prefix of either; empty text = the latest run."""
        if not text:
            return self.list(limit=1)
        exact = self._all("SELECT document FROM run WHERE id = ?1 OR slug || '.' || number = ?1", (text,))
        if exact:
            return exact
        return self._all(
            "SELECT document FROM run WHERE substr(slug || '.' || number, 1, length(?1)) = ?1 "
            "OR substr(id, 1, length(?1)) = ?1 ORDER BY created_at DESC",
            (text,),
        )

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        """Newest first."""
        which = "WHERE is_open = 1" if open_only else ""
        return self._all(f"SELECT document FROM run {which} ORDER BY created_at DESC, rowid DESC LIMIT ?", (limit,))  # noqa: S608  (two constants)

    def log(self, run: RunId, kind: str, text: str, **data: str | float | bool) -> None:
        """Append one line to the story; control characters never reach it."""
        self._db.execute(
            "INSERT INTO run_event (run, at, kind, text, data) VALUES (?, ?, ?, ?, ?)",
            (
                run,
                self._clock().isoformat(),
                kind,
                one_line(text),
                msgspec.json.encode(data).decode(),
            ),
        )

    def story(self, run: RunId, *, after: int = 0) -> Sequence[LoggedEvent]:
        """The story after a sequence number, oldest first."""
        rows = self._db.execute("SELECT * FROM run_event WHERE run = ? AND seq > ? ORDER BY seq", (run, after))
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
        """The file's, which every other connection's commit changes, of runs and of money."""
        number: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return number

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, with the write lock from the start."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _one(self, sql: str, values: tuple[str, ...]) -> Run | None:
        row = self._db.execute(sql, values).fetchone()
        return load(row["document"]) if row else None

    def _all(self, sql: str, values: tuple[str | int, ...]) -> Sequence[Run]:
        return [load(row["document"]) for row in self._db.execute(sql, values)]


def _issue(run: Run) -> tuple[str, str]:
    return run.issue.tracker, run.issue.key


def _is_open(run: Run) -> int:
    return int(run.state in OPEN_STATES)
