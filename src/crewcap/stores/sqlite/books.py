"""The ledger's file: opening it only when it is the right one, and transactions that end or never were.

Two connections: one that writes, under a lock, and one that only reads, so that a long report never makes a
request wait. A hold commits with `synchronous=FULL` (it is on the disk before the request is sent); settlements
commit with NORMAL, which survives the death of the process and may lose the last of them in a power cut: what is
lost stays charged.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from crewcap.errors import InternalError, LedgerError
from crewcap.home import Home
from crewcap.stores import marker, migrations
from crewcap.stores.clock import instant, micros
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.holders import holders
from crewcap.stores.sqlite.opened import OpenedFile, replaced

APPLICATION_ID = 0x43436170  # "CCap"
_HEADER, _HEADER_SIZE = b"SQLite format 3\x00", 100
_APPLICATION_ID_AT = 68  # offset in the file's header, sqlite.org/fileformat2.html


class Books:
    """One opened ledger file."""

    def __init__(self, home: Home, *, at: datetime, zone: str, busy_s: float) -> None:
        self.path = home.ledger
        self.home = home
        self.last_seen = marker.read(home.marker)
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._durable = True
        self._busy_s = busy_s
        self.has_written = False
        fresh = _refuse_lost(home, self.last_seen)
        with translated(self.path):
            self._db = _connect(self.path, busy_s=busy_s, fresh=fresh)
            self._file = OpenedFile.at(self.path)
            try:
                self.uuid = self._recognise(at=at, zone=zone)
                self._reader = _plain_connection(self.path, busy_s)
                self._reader.execute("PRAGMA query_only = ON")
            except BaseException:
                self._db.close()
                raise
        if self.last_seen is None:
            self.write_marker(at)

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """One transaction that no other writer shares; committed at the end, undone on any error."""
        with self._lock, translated(self.path):
            self.has_written = True
            if durable is not self._durable:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                _undo(self._db)
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view; nothing can be written through it."""
        with self._read_lock, translated(self.path):
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                _undo(self._reader)

    def write_marker(self, at: datetime) -> None:
        """Remember what is on the disk now, where these are still the books of this home."""
        self._file.refuse_replaced()
        with self.reading() as db:
            newest, here = int(db.execute(q.NEWEST_MOVEMENT).fetchone()[0]), str(db.execute(q.IDENTITY).fetchone()[0])
        if here != self.uuid:
            raise replaced(self.path)
        marker.write(self.home.marker, marker.Marker(uuid=self.uuid, movement=newest, at=at))

    def close(self) -> None:
        """Close both connections."""
        with self._lock, self._read_lock, translated(self.path):
            self._reader.close()
            self._db.close()

    def _recognise(self, *, at: datetime, zone: str) -> str:
        """Make the tables where they are missing, and see that these are the books that the marker knows."""
        if self._has_identity():
            _refuse_foreign(self._db, self.home, self.last_seen)
            migrations.migrate(self._db)
        elif self.last_seen is not None:
            raise _lost(self.home, "is empty", self.last_seen)
        else:
            migrations.migrate(self._db)
            self._db.execute(q.MAKE_IDENTITY, {"uuid": str(uuid.uuid4()), "at": micros(at), "zone": zone})
        return str(self._db.execute(q.IDENTITY).fetchone()[0])

    def _has_identity(self) -> bool:
        named = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger'"
        return bool(self._db.execute(named).fetchone() and self._db.execute(q.IDENTITY).fetchone())


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Say what SQLite means in words that name the file and the fix."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except UnicodeDecodeError as error:  # SQLite's complaint quotes the file, where that should be text and is not
        raise LedgerError(f"the ledger {path} is damaged: its schema is not even text", help=_RESTORE) from error


def explain(error: sqlite3.Error, path: Path) -> LedgerError | InternalError:
    """The error that users read."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _locked(path)
    for prefix, message, help_ in _EXPLAINED:
        if name.startswith(prefix):
            return LedgerError(f"the ledger {path} {message} ({error})", help=help_)
    if isinstance(error, sqlite3.ProgrammingError):
        return InternalError(f"the ledger {path} was used after it was closed, or wrongly ({error})")
    if name.startswith("SQLITE_CONSTRAINT"):
        return InternalError(f"the ledger {path} refused to book this: {error}", help="please report this line")
    return LedgerError(f"the ledger {path} cannot be used ({error})", help="crewcap ledger verify says more")


def _locked(path: Path) -> LedgerError:
    """Somebody else writes, or wants the file alone, for longer than we wait."""
    who = holders(path)
    return LedgerError(
        f"the ledger {path} is locked by another program{f': {who}' if who else ''}",
        help="close it, or let it finish, and try again"
        if who
        else "close what holds it open, such as an sqlite3 shell, and try again",
    )


_RESTORE = "put a backup in its place (crewcap ledger backup makes them), then: crewcap ledger reconcile --restored"
_EXPLAINED = (
    ("SQLITE_FULL", "has no room left on its disk", "make room; what is held stays charged, and nothing needs repair"),
    ("SQLITE_READONLY", "cannot be written", "make the file and its folder writable for the user who runs crewcap"),
    ("SQLITE_PERM", "cannot be opened", "make the file and its folder readable for the user who runs crewcap"),
    ("SQLITE_CANTOPEN", "cannot be opened", "make the file and its folder readable and writable for this user"),
    ("SQLITE_CORRUPT", "is damaged", _RESTORE),
    ("SQLITE_NOTADB", "is not a database", _RESTORE),
    ("SQLITE_IOERR", "met a disk error", "see that the disk is healthy and has room, then: crewcap ledger verify"),
)


def refuse_unreadable(path: Path) -> None:
    """For those who open the file by other means: it must be there, ours and whole."""
    if not _size(path):
        raise LedgerError(f"the ledger {path} is missing or empty", help="put a backup in its place first")
    _refuse_other_format(path, _size(path))


def _refuse_lost(home: Home, seen: marker.Marker | None) -> bool:
    """Look at the file before SQLite does, which takes an empty one for a new one. True where it is to be made."""
    try:
        size = home.ledger.stat().st_size
    except FileNotFoundError:
        if seen is not None:
            raise _lost(home, "is missing", seen) from None
        home.make()
        return True
    except OSError as error:
        raise LedgerError(f"the ledger {home.ledger} cannot be read: {error.strerror}") from error
    if size == 0:
        if seen is not None:
            raise _lost(home, "is empty", seen)
        return True
    _refuse_other_format(home.ledger, size)
    return False


def _refuse_other_format(path: Path, size: int) -> None:
    """A database of somebody else, no database at all, or one that was cut off."""
    try:
        header = _first_bytes(path)
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error.strerror}") from error
    if len(header) < _HEADER_SIZE or not header.startswith(_HEADER):
        raise LedgerError(f"{path} is not a database", help=_RESTORE)
    found = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big")
    if found != APPLICATION_ID:
        raise LedgerError(
            f"{path} is a database of another program", help="move it away, or name another folder with --home"
        )
    if header[18:20] == b"\x01\x01" and _size(path.with_name(f"{path.name}-wal")):
        raise LedgerError(
            f"the ledger {path} is a copy, and {path.name}-wal beside it belongs to other books",
            help=f"remove {path.name}-wal and {path.name}-shm: SQLite would write them into the copy",
        )
    page = int.from_bytes(header[16:18], "big")
    if size % (65_536 if page == 1 else page):
        raise LedgerError(f"the ledger {path} was cut off: {size} bytes are not a whole number of pages", help=_RESTORE)


def _first_bytes(path: Path) -> bytes:
    """Its header, read where this process has the file open already.

    Whoever closes a file gives up all locks that the process has on it (fcntl(2)), those of SQLite's connections as
    well: the next process that ends would take itself for the last one, and remove the WAL under ours.
    """
    for descriptor in _open_here(path):
        with suppress(OSError):
            return os.pread(descriptor, _HEADER_SIZE, 0)
    with path.open("rb") as file:
        return file.read(_HEADER_SIZE)


def _open_here(path: Path) -> Iterator[int]:
    """Our descriptors of a file."""
    wanted = path.stat()
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  (numbers, not paths)
        with suppress(OSError):  # the listing's own is closed by now
            if os.path.samestat(os.fstat(int(name)), wanted):
                yield int(name)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _refuse_foreign(db: sqlite3.Connection, home: Home, seen: marker.Marker | None) -> None:
    """Other books than the marker's, the same at an earlier time, or a copy that nobody has accepted."""
    found, copied_at = db.execute(q.IDENTITY).fetchone()
    if copied_at is not None:
        raise LedgerError(
            f"the ledger {home.ledger} is a backup of {instant(copied_at):%Y-%m-%d %H:%M} UTC: what was spent since is"
            " not in it",
            help="to accept it, and to book what was billed since: crewcap ledger reconcile --restored [--cost USD]",
        )
    if seen is None:
        return
    if found != seen.uuid:
        raise LedgerError(
            f"the ledger {home.ledger} is not the one that was here before",
            help="put the right ledger.db back; if this one was restored: crewcap ledger reconcile --restored"
            " [--cost USD]",
        )
    newest = db.execute(q.NEWEST_MOVEMENT).fetchone()[0]
    if newest < seen.movement:
        raise LedgerError(
            f"the ledger {home.ledger} is older than it was: it ends at movement {newest}, and {seen.movement} was seen"
            f" at {seen.at:%Y-%m-%d %H:%M} UTC",
            help="put the newest ledger.db with its ledger.db-wal back; if they are lost: crewcap ledger reconcile"
            " --restored [--cost USD]",
        )


def _lost(home: Home, what: str, seen: marker.Marker) -> LedgerError:
    return LedgerError(
        f"the ledger {home.ledger} {what}, and {seen.movement} movements were in it at {seen.at:%Y-%m-%d %H:%M} UTC",
        help=f"{_RESTORE}; to begin new books with full budgets, remove {home.marker}",
    )


def _connect(path: Path, *, busy_s: float, fresh: bool) -> sqlite3.Connection:
    if fresh:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = _plain_connection(path, busy_s)
    try:
        if fresh:  # before WAL, so that the file itself says from its first byte whose it is
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _use_wal(db, path, busy_s)
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _plain_connection(path: Path, busy_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=256)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cell_size_check = ON")
    return db


def _use_wal(db: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Two processes that make the same books may meet here, and SQLite does not always wait by itself."""
    until = time.monotonic() + busy_s
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise LedgerError(
            f"the ledger {path} is on a file system without shared memory", help="name a local folder with --home"
        )


def _undo(db: sqlite3.Connection) -> None:
    """Roll back what is open. SQLite may have done so itself (a full disk), and the first error is the one to tell."""
    if db.in_transaction:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            return
