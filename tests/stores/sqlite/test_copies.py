"""Backups are whole, know that they are copies, and are accepted as the ledger only by word."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.stores.books import Shelf, reserve, settle, usd

from crewcap.core.budget import ALL, Granted, KeyId
from crewcap.core.money import ZERO
from crewcap.errors import LedgerError, UsageError
from crewcap.stores import Limit, migrations
from crewcap.stores.sqlite import copies
from crewcap.stores.sqlite.books import APPLICATION_ID


@pytest.fixture
def copied(shelf: Shelf) -> Shelf:
    """A home whose ledger was lost after a backup, and the backup put in its place."""
    ledger, boot = shelf.filled()
    reserve(ledger, boot, "second", "0.30")
    ledger.backup(str(shelf.home.root / "backup.db"))
    settle(ledger, "second", "0.20")
    reserve(ledger, boot, "third", "0.30")
    settle(ledger, "third", "0.30")
    ledger.close()
    for ending in ("", "-wal", "-shm"):
        (shelf.home.root / f"ledger.db{ending}").unlink(missing_ok=True)
    shutil.copy(shelf.home.root / "backup.db", shelf.home.ledger)
    return shelf


def _accept(shelf: Shelf, cost: str = "0.40") -> None:
    copies.accept(shelf.home, at=shelf.clocks.wall, cost=usd(cost), word="ana: the provider's console")


def test_a_backup_is_made_while_the_ledger_works_for_its_owner_alone(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    target = shelf.home.root / "backup.db"
    ledger.backup(str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not target.with_name("backup.db-wal").exists()
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    ledger.close()


def test_a_backup_never_replaces_a_file(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    target = shelf.home.root / "precious"
    target.write_text("keep me")
    with pytest.raises(UsageError, match="never replaces"):
        ledger.backup(str(target))
    assert target.read_text() == "keep me"
    with pytest.raises(UsageError, match="cannot be written"):
        ledger.backup(str(shelf.home.root / "nowhere" / "backup.db"))
    ledger.close()


def test_a_copy_is_not_opened_as_the_ledger_by_itself(copied: Shelf) -> None:
    """Even where the marker is gone as well: what was spent since the copy is not in it."""
    for _ in range(2):
        with pytest.raises(LedgerError, match="is a backup of 2026-11-22 10:00 UTC") as refused:
            copied.open()
        assert "--restored" in refused.value.help
        copied.home.marker.unlink(missing_ok=True)


def test_an_accepted_copy_carries_what_was_billed_since(copied: Shelf) -> None:
    _accept(copied)
    ledger = copied.open()
    boot = ledger.start_boot()
    assert ledger.verify().problems == ()
    assert ledger.totals(ALL).spent == usd("0.50")
    assert [it.hold for it in ledger.uncertain_holds()] == ["second"]  # in flight when the copy was made
    assert ledger.entries()[-1].incident.startswith("booked for entries that were lost")
    assert ledger.balances(KeyId("k1"))[0].left == usd("0.60")
    assert isinstance(reserve(ledger, boot, "next", "0.60"), Granted)
    ledger.close()


def test_older_books_without_the_mark_of_a_copy_are_accepted_by_word_as_well(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    ledger.close()
    yesterday = shelf.home.ledger.read_bytes()
    ledger = shelf.open()
    reserve(ledger, ledger.start_boot(), "second", "0.30")
    ledger.close()
    shelf.home.ledger.write_bytes(yesterday)
    with pytest.raises(LedgerError, match="older"):
        shelf.open()
    _accept(shelf, "0.00")
    ledger = shelf.open()
    assert ledger.totals(ALL).spent == usd("0.10")
    assert ledger.totals(ALL).uncertain == ZERO
    ledger.close()


def test_books_that_were_not_restored_are_not_accepted_twice(copied: Shelf) -> None:
    _accept(copied)
    copied.open().close()
    with pytest.raises(UsageError, match="was not restored"):
        _accept(copied)


def _restore(shelf: Shelf) -> None:
    """The procedure, to the letter: the lost files are moved away, a copy is put in their place and accepted."""
    lost = shelf.home.root / "lost"
    lost.mkdir()
    for path in tuple(shelf.home.root.glob("ledger.db*")):
        path.rename(lost / path.name)
    shutil.copy(shelf.home.root / "backup.db", shelf.home.ledger)
    _accept(shelf)


def test_who_had_the_lost_books_open_says_nothing_of_the_restored_ones(shelf: Shelf) -> None:
    """A screen that was left open over a restore ends later: the restored books are still the ones of this home."""
    ledger, _ = shelf.filled()
    ledger.backup(str(shelf.home.root / "backup.db"))
    ledger.close()
    screen, desk, late = shelf.open(), shelf.open(), shelf.open()
    desk.set_limit(Limit(scope=ALL, window="day", amount=usd("30"), source="command"))
    _restore(shelf)
    screen.close()  # before anybody has opened the restored ones, and so has written their marker
    desk.close()
    shelf.open().close()
    with pytest.raises(LedgerError, match="was replaced while this command had it open"):
        late.beat()
    late.close()
    restored = shelf.open()
    assert restored.verify().problems == ()
    restored.close()


def test_who_only_looks_writes_no_marker(shelf: Shelf) -> None:
    """What was seen of the books is for those to say who write to them."""
    ledger, _ = shelf.filled()
    ledger.close()
    before = shelf.home.marker.stat().st_mtime_ns
    screen = shelf.open()
    screen.totals(ALL)
    screen.close()
    assert shelf.home.marker.stat().st_mtime_ns == before


def test_books_that_others_were_written_over_are_not_those_that_were_opened(shelf: Shelf) -> None:
    """Also where the file itself is the same: its name in the books tells."""
    ledger, _ = shelf.filled()
    shelf.sql("UPDATE ledger SET uuid = 'another'")
    with pytest.raises(LedgerError, match="was replaced"):
        ledger.beat()
    with pytest.raises(LedgerError, match="was replaced"):
        ledger.close()


def test_a_damaged_copy_is_not_accepted(copied: Shelf) -> None:
    data = bytearray(copied.home.ledger.read_bytes())
    data[4096 * 6 : 4096 * 7] = bytes(range(256)) * 16
    copied.home.ledger.write_bytes(data)
    with pytest.raises(LedgerError, match=r"not sound|is damaged"):
        _accept(copied)


def test_nothing_in_place_is_nothing_to_accept(shelf: Shelf, tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(LedgerError, match="missing or empty"):
        _accept(shelf)


def test_a_backup_of_an_earlier_version_is_brought_up_to_date_when_it_is_accepted(shelf: Shelf) -> None:
    """Its schema is checked after the migrations that it does not know."""
    shelf.home.make()
    db = sqlite3.connect(shelf.home.ledger, isolation_level=None)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations.migrate(db, migrations.known()[:2])
    db.execute("INSERT INTO ledger (one, uuid, made_at, zone, copied_at) VALUES (1, 'old', 0, 'UTC', 1)")
    db.close()
    copies.accept(shelf.home, at=shelf.clocks.wall, cost=usd("0.50"), word="the provider's bill")
    ledger = shelf.open()
    assert ledger.totals(ALL).spent == usd("0.50")
    assert ledger.verify().problems == ()
    ledger.close()
