"""What was seen of prompt caches is kept beside the books."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import Money
from crewcap.core.savings import CacheTurn
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.savings import SqliteCacheTurns

FIRST = CacheTurn(hold=HoldId("h1"), run="r1", key=KeyId("k1"), conversation="c", gap_ms=None, kept=0)
SECOND = replace(
    FIRST, hold=HoldId("h2"), gap_ms=1_500, kept=9_000, lost=8_000, cost=Money(12_345), broke="system, character 7"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With books in it: the ledger makes the table."""
    made = Home(tmp_path / "home")
    made.make()
    SqliteLedger(made, clock=lambda: datetime.now(UTC), monotonic=time.monotonic).close()
    return made


def test_what_is_noted_is_read_by_run_and_by_key_in_the_order_of_its_requests(home: Home) -> None:
    store = SqliteCacheTurns(home)
    other = replace(FIRST, hold=HoldId("h0"), run="", key=KeyId("k2"))
    store.note([SECOND, other])
    store.note([FIRST])
    assert store.of_run("r1") == store.of_key(KeyId("k1")) == (FIRST, SECOND)
    assert store.of_key(KeyId("k2")) == (other,)
    assert store.of_run("r9") == ()
    store.close()


def test_what_is_handed_in_again_changes_nothing(home: Home) -> None:
    """A flush that failed half-way is tried again as a whole."""
    store = SqliteCacheTurns(home)
    store.note([FIRST])
    store.note([replace(FIRST, kept=5), SECOND])
    assert store.of_run("r1") == (FIRST, SECOND)
    store.close()


def test_a_file_that_is_locked_is_said_and_holds_nobody_up_for_long(home: Home) -> None:
    """It is advice: whoever writes it may try later."""
    store = SqliteCacheTurns(home)
    other = sqlite3.connect(home.ledger, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="locked"):
        store.note([FIRST])
    other.execute("ROLLBACK")
    other.close()
    store.note([FIRST])
    assert store.of_run("r1") == (FIRST,)
    store.close()


def test_the_books_are_sound_with_it(home: Home) -> None:
    store = SqliteCacheTurns(home)
    store.note([FIRST])
    store.close()
    ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    assert ledger.verify().problems == ()
    ledger.close()
