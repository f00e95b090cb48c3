"""The right database, new enough: one that is missing, another, older or restored is refused until somebody says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.stores.books import reserve, settle
from tests.stores.postgres_server import Server
from tests.stores.postgres_shelf import Shelf, usd

from crewcap.core.budget import ALL, Granted
from crewcap.core.money import ZERO
from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home
from crewcap.stores import Limit, marker
from crewcap.stores.postgres.books import is_elsewhere
from crewcap.stores.postgres.ledger import PostgresLedger
from crewcap.stores.postgres.setup import accept, bring_up_to_date
from crewcap.stores.sqlite.ledger import SqliteLedger


def _accept(desk: Shelf, cost: str = "0.40") -> None:
    accept(desk.url, desk.home, monotonic=desk.clocks.monotonic, cost=usd(cost), word="ana: the provider's console")


@pytest.fixture
def restored(desk: Shelf) -> Shelf:
    """A home that has seen more than its database knows: the database was restored from last night."""
    ledger, boot = desk.filled()
    reserve(ledger, boot, "second", "0.30")
    ledger.beat()
    seen = marker.read(desk.home.marker)
    assert seen is not None
    desk.end()
    desk.opened.clear()
    marker.write(desk.home.marker, replace(seen, movement=seen.movement + 5))
    return desk


def test_the_marker_remembers_which_database_and_how_much_of_it(desk: Shelf) -> None:
    ledger, _ = desk.filled()
    ledger.beat()
    found = json.loads(desk.home.marker.read_text())
    assert found["uuid"] == desk.sql("SELECT uuid FROM crewcap.ledger")[0][0]
    assert found["movement"] == 2
    assert datetime.fromisoformat(found["at"]) == desk.clocks.wall


def test_a_database_without_books_is_made_by_word_alone(postgres: Server, tmp_path: Path) -> None:
    desk = Shelf(postgres, tmp_path, url=postgres.empty())
    with pytest.raises(LedgerError, match="holds no ledger yet") as caught:
        desk.open()
    assert "crewcap ledger migrate" in caught.value.help
    made = bring_up_to_date(desk.url, desk.home, zone="Europe/Berlin")
    assert [name[:4] for name in made] == [f"{number:04d}" for number in range(1, 13)]
    assert bring_up_to_date(desk.url, desk.home, zone="UTC") == []
    ledger, _ = desk.filled()
    assert any(it.label.endswith("@Europe/Berlin") for it in ledger.all_balances())
    desk.end()


@pytest.fixture
def copied(desk: Shelf) -> Shelf:
    """A home whose settings name a copy that is as new as what it has seen: its movements look whole."""
    desk.filled()
    desk.end()
    desk.opened.clear()
    name, copy = (url.partition("@/")[2].partition("?")[0] for url in (desk.url, desk.server.empty()))
    desk.server.sql("postgres", f"DROP DATABASE {copy}")
    desk.server.sql("postgres", f"CREATE DATABASE {copy} TEMPLATE {name}")
    desk.url = desk.url.replace(name, copy)
    return desk


def test_a_copy_is_told_by_a_home_that_knows_the_books_from_another_database(copied: Shelf) -> None:
    """It may be younger than what the home saw last, so its movements prove nothing; it is told until somebody acts."""
    for _ in range(2):
        ledger = copied.open()
        ledger.stop_boot(ledger.start_boot())
        assert ledger.is_copy
    other = Home(copied.home.root.with_name("other"))
    assert not copied.open(home=other).is_copy  # who never saw the first one cannot know
    copied.end()
    copied.opened.clear()
    copied.home.marker.unlink()
    assert not copied.open().is_copy
    copied.end()


def test_a_copy_that_lacks_nothing_that_was_seen_can_be_accepted_as_restored(copied: Shelf) -> None:
    _accept(copied)
    ledger = copied.open()
    assert (ledger.is_copy, ledger.totals(ALL).spent) == (False, usd("0.50"))
    copied.end()


def test_the_same_database_is_no_copy_and_neither_is_one_that_cannot_be_told(desk: Shelf) -> None:
    ledger, _ = desk.filled()
    assert not ledger.is_copy
    seen = marker.read(desk.home.marker)
    assert seen is not None
    assert not is_elsewhere(seen.place, seen)
    assert is_elsewhere("1/2", seen)
    assert not is_elsewhere("", seen)
    assert not is_elsewhere("1/2", replace(seen, place=""))
    assert not is_elsewhere("1/2", None)


def test_books_that_are_gone_are_not_begun_again(desk: Shelf, postgres: Server) -> None:
    """A database that was made anew would give every budget back."""
    desk.filled()[0].beat()
    desk.url = postgres.empty()
    with pytest.raises(LedgerError, match="holds no ledger, and 2 movements were in it"):
        desk.open()
    with pytest.raises(LedgerError, match="holds no ledger, and 2 movements were in it") as caught:
        bring_up_to_date(desk.url, desk.home, zone="UTC")
    assert str(desk.home.marker) in caught.value.help


def test_another_ledger_is_refused(desk: Shelf, postgres: Server) -> None:
    desk.filled()
    desk.url = postgres.migrated()
    with pytest.raises(LedgerError, match="not the one that was here before"):
        desk.open()


def test_a_home_whose_books_are_in_a_file_does_not_change_them_for_empty_ones(desk: Shelf) -> None:
    """Somebody adds [store] to the settings in mid-month: what was spent is in the file."""
    clocks = Clocks()
    SqliteLedger(desk.home, clock=clocks.clock, monotonic=clocks.monotonic).close()
    with pytest.raises(LedgerError, match="keeps its books in") as caught:
        desk.open()
    assert "take [store] out" in caught.value.help


def test_an_older_database_is_refused_until_somebody_accepts_it(restored: Shelf) -> None:
    with pytest.raises(LedgerError, match="is older than it was: it ends at movement 3, and 8 was seen"):
        restored.open()
    restored.clocks.wall = datetime.now(UTC)  # restored books are accepted by the database's own clock
    _accept(restored)
    ledger = restored.open()
    ledger.accept_clock()
    (lost,) = [it for it in ledger.entries() if it.incident]
    assert (lost.spent, lost.reason, lost.scopes[-1]) == (usd("0.40"), "ana: the provider's console", ALL)
    assert ledger.totals(ALL).spent == usd("0.50")
    assert ledger.verify().problems == ()
    ledger.start_boot()
    assert [it.hold for it in ledger.uncertain_holds()] == ["second"]


def test_every_other_home_of_restored_books_wants_the_word_too(restored: Shelf) -> None:
    """They go on under a new name, so that no home takes them for what it knew."""
    other = Home(restored.home.root.with_name("other"))
    other.make()
    seen = marker.read(restored.home.marker)
    assert seen is not None
    marker.write(other.marker, replace(seen, movement=1))
    _accept(restored)
    with pytest.raises(LedgerError, match="not the one that was here before"):
        restored.open(home=other)


def test_who_had_the_books_open_says_nothing_of_the_restored_ones(restored: Shelf) -> None:
    """A screen that was left open over it ends later; this home knows the restored books still."""
    seen = marker.read(restored.home.marker)
    assert seen is not None
    marker.write(restored.home.marker, replace(seen, movement=1))
    screen, late = restored.open(), restored.open()
    late.set_limit(Limit(scope=ALL, window="day", amount=usd("30"), source="command"))
    marker.write(restored.home.marker, seen)
    _accept(restored)
    screen.close()
    with pytest.raises(LedgerError, match="was replaced while this command had it open"):
        late.beat()
    late.close()
    assert not restored.home.marker.exists()
    restored.open().close()
    there = marker.read(restored.home.marker)
    assert there is not None
    assert there.uuid == restored.sql("SELECT uuid FROM crewcap.ledger")[0][0]


def test_books_that_were_not_restored_need_no_word(desk: Shelf) -> None:
    ledger, boot = desk.filled()
    with pytest.raises(UsageError, match="a gateway of this ledger is running"):
        _accept(desk)
    ledger.stop_boot(boot)
    with pytest.raises(UsageError, match="was not restored"):
        _accept(desk)


def test_a_newer_schema_and_an_edited_one_are_refused(desk: Shelf) -> None:
    desk.filled()
    desk.sql("INSERT INTO crewcap.migration (number, name, checksum) VALUES (99, '0099_later.sql', 'x')")
    with pytest.raises(LedgerError, match="a newer one wrote it"):
        desk.open()
    desk.sql("DELETE FROM crewcap.migration WHERE number = 99")
    desk.sql("UPDATE crewcap.migration SET checksum = 'edited' WHERE number = 1")
    with pytest.raises(LedgerError, match=r"another 0001_ledger\.sql"):
        desk.open()


def test_an_older_schema_is_brought_up_to_date_by_word_alone(postgres: Server, tmp_path: Path) -> None:
    """What was added up and could not tell a card's limits apart is made again, as in a file."""
    desk = Shelf(postgres, tmp_path)
    desk.sql("DROP FUNCTION crewcap.card_tells_its_tiers CASCADE")
    desk.sql("DROP FUNCTION crewcap.odd_tiers")
    desk.sql("DROP TABLE crewcap.card_tier CASCADE")
    desk.sql("INSERT INTO crewcap.card VALUES ('c', '{\"tiers\":[{\"above\":20000}]}', 'b', 1)")
    desk.sql(
        "INSERT INTO crewcap.bundle"
        " VALUES (1, 'k', 'p', 'm', 'c', 'settled', 0, false, false, '{}', 1, 1, 0, 0, 1, 0, 0, 0, 1, 0)"
    )
    desk.sql("DELETE FROM crewcap.migration WHERE number = 12")
    with pytest.raises(LedgerError, match="has schema 11, this crewcap needs 12") as caught:
        desk.open()
    assert "crewcap ledger migrate" in caught.value.help
    assert bring_up_to_date(desk.url, desk.home, zone="UTC") == ["0012_tiers.sql"]
    assert desk.open().verify().problems == ()
    desk.end()


def test_a_backup_is_the_databases_own_affair(desk: Shelf) -> None:
    ledger, _ = desk.filled()
    with pytest.raises(UsageError, match="PostgreSQL") as caught:
        ledger.backup("/backups/ledger.dump")
    assert caught.value.help.startswith("pg_dump --schema=crewcap --format=custom --file=/backups/ledger.dump")


def test_without_a_clock_of_a_tests_the_databases_own_rules(desk: Shelf) -> None:
    """The gateway's machine may show what it likes."""
    ledger = PostgresLedger(desk.home, desk.url, monotonic=desk.clocks.monotonic)
    desk.opened.append(ledger)
    boot = ledger.start_boot()
    desk.clocks.wall -= timedelta(days=900)
    key = desk.a_key("k1")
    ledger.add_key(key, cap=usd("1.00"))
    assert isinstance(reserve(ledger, boot, "first", "0.30"), Granted)
    (hold,) = ledger.open_holds()
    assert abs(hold.sent_at - datetime.now(UTC)) < timedelta(minutes=1)  # one machine, one clock
    desk.clocks.mono += 3_600  # by our own monotonic clock an hour has passed, by the database's none
    assert "the clock jumped" in ledger.doubt()
    ledger.accept_clock()
    assert ledger.doubt() == ""
    assert settle(ledger, "first", "0.10")
    assert ledger.totals(ALL).held == ZERO
