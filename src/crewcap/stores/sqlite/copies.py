"""Backups of the ledger, and putting one in the place of books that were lost.

A backup is a whole ledger in one file that knows that it is a copy. What was spent after it was made is not in it,
so nothing opens it as the ledger until an operator has said so, and has booked what the provider billed since.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from crewcap.core.budget import ALL, BootId, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home
from crewcap.stores import HoldOrder, Settlement, boots, marker, migrations
from crewcap.stores.calendar import Calendar
from crewcap.stores.clock import micros
from crewcap.stores.sqlite import holds, keys, verify
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.books import refuse_unreadable, translated
from crewcap.stores.sqlite.windows import Now


def backup(db: sqlite3.Connection, path: str, *, at: int) -> None:
    """Write a consistent copy to a new file, for its owner alone, and read it back."""
    target = Path(path)
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise UsageError(f"{path} exists; a backup never replaces a file", help="name a new file") from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", help="name a file in a folder of yours"
        ) from error
    try:
        with translated(target):
            _copy(db, target, at=at)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy(db: sqlite3.Connection, target: Path, *, at: int) -> None:
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it to lose
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute(q.MARK_COPY, {"at": at})
        if copy.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise LedgerError(f"the backup {target} could not be read back", help="crewcap ledger verify")
    finally:
        copy.close()


def accept(home: Home, *, at: datetime, cost: Money, word: str) -> None:
    """Take a backup, or older books, as the ledger from now on; what the provider billed since is booked to `all`."""
    refuse_unreadable(home.ledger)
    _refuse_while_it_is_used(home)
    with translated(home.ledger):
        db = sqlite3.connect(home.ledger, timeout=5.0, isolation_level=None)
        try:
            _refuse_unfit(db, home)
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            db.execute(q.ADOPT_COPY, {"uuid": str(uuid.uuid4())})
            _book_missing(db, at, cost, word)
            db.execute("COMMIT")
        finally:
            db.close()
    home.marker.unlink(missing_ok=True)


def _refuse_while_it_is_used(home: Home) -> None:
    living = [path.stem for path in home.boots.glob("*.lock") if boots.is_alive(home.boots, BootId(path.stem))]
    if living:
        raise UsageError("a gateway of this home is running", help="stop it first; it still writes to the ledger")


def _refuse_unfit(db: sqlite3.Connection, home: Home) -> None:
    """Only a sound copy is accepted, and only where one is needed; an earlier version's is brought up to date."""
    _refuse_unsound(home, verify.wrong_file(db, "integrity_check"))
    found, copied_at = db.execute(q.IDENTITY).fetchone()
    seen = marker.read(home.marker)
    newest = db.execute(q.NEWEST_MOVEMENT).fetchone()[0]
    if copied_at is None and (seen is None or (found == seen.uuid and newest >= seen.movement)):
        raise UsageError(
            f"the ledger {home.ledger} was not restored", help="crewcap ledger reconcile, without --restored"
        )
    migrations.migrate(db)
    _refuse_unsound(home, verify.wrong_schema(db))


def _refuse_unsound(home: Home, problems: Iterable[str]) -> None:
    for problem in problems:
        raise LedgerError(f"the ledger {home.ledger} is not sound: {problem}", help="use another backup")


def _book_missing(db: sqlite3.Connection, at: datetime, cost: Money, word: str) -> None:
    """One entry that stands for all that the copy does not know."""
    zone, _, _, _, newest_at, _, _ = db.execute(q.TIME).fetchone()
    wall = micros(at)
    moment = max(wall, newest_at)
    now = Now(moment, wall, Calendar().spans(zone, moment))
    name = f"restored-{secrets.token_hex(6)}"
    key = VirtualKey(id=KeyId(name), hash=name, scopes=(Scope(f"key:{name}"), ALL), created_at=at)
    keys.add(db, key, None, now)
    db.execute(q.START_BOOT, {"boot": name, "pid": os.getpid(), "at": wall})
    order = HoldOrder(
        hold=HoldId(name),
        boot=BootId(name),
        key=key.id,
        amount=ZERO,
        model="",
        provider="",
        book="",
        prompt_bound=0,
        output_limit=0,
        asked_output=0,
    )
    holds.reserve(db, order, now)
    end = Settlement(
        hold=order.hold,
        kind="settled",
        spent=cost,
        uncertain=ZERO,
        usage=Usage(),
        reason=word,
        incident="booked for entries that were lost with the ledger before this one",
    )
    holds.settle(db, end, now)
    keys.revoke(db, key.id, now)
    holds.lose_boot(db, order.boot, now, reason="")
