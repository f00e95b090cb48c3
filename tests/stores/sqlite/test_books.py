"""The ledger's file: only the right one is opened, and what cannot be written is an error that says so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable

import pytest
from tests.stores.books import Shelf, reserve, settle, usd
from tests.stores.crash import abandon

from crewcap.core.budget import Granted, HoldId
from crewcap.errors import CrewcapError, InternalError, LedgerError
from crewcap.stores import marker


def test_new_books_are_for_their_owner_alone(shelf: Shelf) -> None:
    shelf.open().close()
    for path in (shelf.home.root, shelf.home.ledger, shelf.home.marker):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_books_that_were_closed_open_again_with_all_that_was_in_them(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    before = ledger.all_balances()
    ledger.close()
    again = shelf.open()
    assert again.all_balances() == before
    assert again.verify().problems == ()
    again.close()


# Damage: each kind with how it is done, and what the message must name.


def _empty(shelf: Shelf) -> None:
    shelf.home.ledger.write_bytes(b"")
    _drop_wal(shelf)


def _delete(shelf: Shelf) -> None:
    shelf.home.ledger.unlink()
    _drop_wal(shelf)


def _halve(shelf: Shelf) -> None:
    data = shelf.home.ledger.read_bytes()
    shelf.home.ledger.write_bytes(data[: len(data) // 2])


def _cut_inside_a_page(shelf: Shelf) -> None:
    shelf.home.ledger.write_bytes(shelf.home.ledger.read_bytes()[:-1000])


def _garbage_page(shelf: Shelf) -> None:
    data = bytearray(shelf.home.ledger.read_bytes())
    data[4096 * 6 : 4096 * 7] = bytes(range(256)) * 16
    shelf.home.ledger.write_bytes(data)


def _schema_that_is_no_text(shelf: Shelf) -> None:
    """SQLite complains of it in words that are no UTF-8 either."""
    data = shelf.home.ledger.read_bytes()
    assert b"CREATE TABLE" in data
    shelf.home.ledger.write_bytes(data.replace(b"CREATE TABLE", b"CREATE \xb4ABLE"))


def _zero_header(shelf: Shelf) -> None:
    data = bytearray(shelf.home.ledger.read_bytes())
    data[:100] = bytes(100)
    shelf.home.ledger.write_bytes(data)


def _foreign(shelf: Shelf) -> None:
    shelf.home.ledger.unlink()
    shelf.sql("CREATE TABLE notes (text TEXT)")


def _another_ledger(shelf: Shelf) -> None:
    other = Shelf(shelf.home.root / "elsewhere")
    ledger, _ = other.filled()
    ledger.close()
    shutil.copy(other.home.ledger, shelf.home.ledger)


def _no_database_at_all(shelf: Shelf) -> None:
    shelf.home.ledger.write_text("these are not the books\n" * 500)


def _unreadable_marker(shelf: Shelf) -> None:
    shelf.home.marker.write_text('{"uuid": ')


def _drop_wal(shelf: Shelf) -> None:
    for ending in ("-wal", "-shm"):
        shelf.home.ledger.with_name(f"ledger.db{ending}").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_empty, "is empty"),
        (_delete, "is missing"),
        (_halve, "is damaged|is not sound|cut off"),
        (_cut_inside_a_page, "cut off"),
        (_garbage_page, "is damaged|is not sound"),
        (_schema_that_is_no_text, "is damaged"),
        (_zero_header, "is not a database"),
        (_foreign, "of another program"),
        (_another_ledger, "not the one that was here before"),
        (_no_database_at_all, "is not a database"),
        (_unreadable_marker, "marker .* cannot be read"),
    ],
)
def test_damaged_foreign_or_missing_books_are_refused_before_money_is_promised(
    shelf: Shelf, damage: Callable[[Shelf], None], message: str
) -> None:
    """An empty file is a perfectly good new database to SQLite; it may never mean a full budget."""
    ledger, _ = shelf.filled()
    ledger.close()
    damage(shelf)
    with pytest.raises(LedgerError, match=message) as refused:
        shelf.open().start_boot()
    assert str(shelf.home.root) in refused.value.message
    assert refused.value.help
    with pytest.raises(LedgerError):  # nor at the second try
        shelf.open().start_boot()


def test_books_without_their_wal_are_older_than_they_were(shelf: Shelf) -> None:
    """Copying the .db alone loses every row that was not checkpointed, and SQLite says ok."""
    ledger, _ = shelf.filled()
    ledger.beat()
    copied = shelf.home.ledger.read_bytes()
    abandon(ledger)
    shelf.home.ledger.write_bytes(copied)
    _drop_wal(shelf)
    with pytest.raises(LedgerError, match=r"older than it was|is empty"):
        shelf.open()


def test_another_ledger_is_taken_in_the_way_of_the_page_on_restoring(shelf: Shelf) -> None:
    """Who removes the marker instead has books without the money that was billed since."""
    shelf.filled()[0].close()
    _another_ledger(shelf)
    with pytest.raises(LedgerError, match="not the one that was here before") as refused:
        shelf.open()
    assert "crewcap ledger reconcile --restored" in refused.value.help
    assert "marker" not in refused.value.help


def test_yesterdays_file_is_older_than_its_marker(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    ledger.close()
    yesterday = shelf.home.ledger.read_bytes()
    ledger = shelf.open()
    boot = ledger.start_boot()
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    ledger.close()
    shelf.home.ledger.write_bytes(yesterday)
    with pytest.raises(LedgerError, match="older than it was: it ends at movement 2, and 4 was seen") as refused:
        shelf.open()
    assert "reconcile --restored" in refused.value.help


def test_the_marker_may_lag_behind_the_books(shelf: Shelf) -> None:
    """It is written at start, stop and every minute; a crash in between is no loss."""
    ledger, boot = shelf.filled()
    ledger.beat()
    reserve(ledger, boot, "second", "0.30")
    seen = marker.read(shelf.home.marker)
    assert seen is not None
    assert seen.movement == 2
    abandon(ledger)
    again = shelf.open()
    again.start_boot()
    assert [it.hold for it in again.uncertain_holds()] == ["second"]
    again.close()


def test_a_schema_of_a_newer_crewcap_is_refused_and_untouched(shelf: Shelf) -> None:
    shelf.open().close()
    shelf.sql("INSERT INTO migration (number, name, checksum) VALUES (999, '0999_future.sql', 'x')")
    before = shelf.home.ledger.read_bytes()
    with pytest.raises(LedgerError, match="a newer one wrote it"):
        shelf.open()
    assert shelf.home.ledger.read_bytes() == before


def test_a_fence_that_was_dropped_stops_the_gateway(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    ledger.close()
    shelf.sql("DROP TRIGGER budget_fence")
    ledger = shelf.open()
    with pytest.raises(LedgerError, match="trigger budget_fence is missing"):
        ledger.start_boot()
    ledger.close()


# Trouble while it is open: fail closed, nothing half done, and whole again when the trouble is over.


def test_a_ledger_locked_by_another_program_grants_nothing(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    ledger.close()
    ledger = shelf.open(busy_s=0.05)
    boot = ledger.start_boot()
    shell = sqlite3.connect(shelf.home.ledger, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="is locked by another program"):
        reserve(ledger, boot, "second", "0.30")
    assert ledger.open_holds() == ()  # readers are not stopped
    shell.execute("ROLLBACK")
    shell.close()
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    ledger.close()


def test_a_full_disk_grants_nothing_and_leaves_what_is_held_charged(shelf: Shelf) -> None:
    """SQLite rolls back by itself then; the error that is told must be the first one."""
    ledger, boot = shelf.filled()
    reserve(ledger, boot, "second", "0.30")
    (pages,) = ledger._books._db.execute("PRAGMA page_count").fetchone()
    ledger._books._db.execute(f"PRAGMA max_page_count = {pages}")
    granted, full = _until_refused(lambda number: reserve(ledger, boot, f"more{number}", "0.00"))
    assert "no room left" in full.message
    assert "nothing needs repair" in full.help
    settled, full = _until_refused(lambda number: settle(ledger, f"more{number}", "0"))
    assert "no room left" in full.message
    assert settled < granted
    held = {it.hold for it in ledger.open_holds()}
    assert {"second", f"more{settled}"} <= held
    assert f"more{granted}" not in held
    ledger._books._db.execute("PRAGMA max_page_count = 1000000")
    assert settle(ledger, "second", "0.10")
    assert ledger.verify().problems == ()
    ledger.close()


def _until_refused(step: Callable[[int], object]) -> tuple[int, LedgerError]:
    """How often something can be done, and what it says then."""
    for number in range(5_000):
        try:
            step(number)
        except LedgerError as error:
            return number, error
    raise AssertionError("never refused")


def test_books_that_cannot_be_written_grant_nothing(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    ledger._books._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerError, match="cannot be written"):
        reserve(ledger, boot, "second", "0.30")
    ledger._books._db.execute("PRAGMA query_only = OFF")
    ledger.close()


def test_a_file_without_the_right_to_write_is_refused(shelf: Shelf) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    shelf.filled()[0].close()
    shelf.home.ledger.chmod(0o400)
    with pytest.raises(LedgerError, match="cannot be written"):
        shelf.open().start_boot()


def test_an_error_inside_a_transaction_undoes_all_of_it(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()

    def half() -> None:
        with ledger._books.writing(durable=True) as db:
            db.execute("INSERT INTO refusal (key, at, model, needed, message) VALUES ('k1', 0, '', 0, '')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert shelf.sql("SELECT count(*) FROM refusal") == [(0,)]
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    ledger.close()


def test_a_ledger_that_was_closed_says_so(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    ledger.close()
    with pytest.raises(InternalError, match="after it was closed"):
        reserve(ledger, boot, "second", "0.30")


def test_many_who_make_the_same_new_books_at_once_make_them_once(shelf: Shelf) -> None:
    gate, identities, errors = threading.Barrier(6), set(), []

    def make() -> None:
        gate.wait(timeout=10)
        try:
            ledger = shelf.open()
        except CrewcapError as error:
            errors.append(error.message)
            return
        identities.add(ledger._books.uuid)
        ledger.close()

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []
    assert len(identities) == 1


def test_a_copy_beside_the_lost_books_wal_is_refused(shelf: Shelf) -> None:
    """SQLite would write the stale log into the copy without a word."""
    ledger, _ = shelf.filled()
    backup = shelf.home.root / "backup.db"
    ledger.backup(str(backup))
    abandon(ledger)
    wal = shelf.home.ledger.with_name("ledger.db-wal")
    shutil.copy(backup, shelf.home.ledger)
    wal.write_bytes(b"x" * 100)
    with pytest.raises(LedgerError, match="belongs to other books") as refused:
        shelf.open()
    assert "remove ledger.db-wal" in refused.value.help


def test_a_hold_waits_for_the_disk_and_what_ends_it_need_not(shelf: Shelf) -> None:
    """A power cut may lose the last settlements, whose holds then stay charged; it never loses a granted hold."""
    ledger, boot = shelf.filled()

    def level() -> str:
        (number,) = ledger._books._db.execute("PRAGMA synchronous").fetchone()
        return {1: "NORMAL", 2: "FULL"}[number]

    assert level() == "NORMAL"  # the last thing was a settlement
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    assert level() == "FULL"
    ledger.shrink(HoldId("second"), usd("0.20"))
    assert level() == "NORMAL"
    reserve(ledger, boot, "third", "0.30")
    assert level() == "FULL"
    settle(ledger, "third", "0.10")
    assert level() == "NORMAL"
    ledger.close()
