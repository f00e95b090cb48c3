"""Rates and counts in the file: what the database itself does, and what `ledger verify` notices.

What they mean stands in the ledger's contract.
"""

from __future__ import annotations

import sqlite3

import pytest
from tests.stores.books import Shelf, reserve, settle, usd
from tests.stores.crash import abandon

from crewcap.core.budget import ALL, BootId, Busy, Granted, Scope
from crewcap.core.limits import PARTS, CountLimit, RateLimit
from crewcap.core.pricing import Usage
from crewcap.stores import Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger

REPO = Scope("repo:a")


def limited(shelf: Shelf) -> tuple[SqliteLedger, BootId]:
    """Rates and counts on the repository; one request of 100 tokens settled, one of at most 3,000 in flight."""
    ledger, boot = shelf.filled()
    for kind in ("tpm", "rpm", "concurrent"):
        ledger.set_rate(RateLimit(scope=REPO, kind=kind, value=1_000, source="command"))
    for counted in ("tokens", "runs", "hours"):
        ledger.set_count(CountLimit(scope=REPO, kind=counted, window="day", value=50_000, source="command"))
    assert isinstance(reserve(ledger, boot, "second", "0.10"), Granted)
    usage = Usage(input=60, cache_read=30, output=10)
    assert ledger.settle(Settlement(hold="second", kind="settled", spent=usd("0.01"), uncertain=usd(0), usage=usage))  # type: ignore[arg-type]  # a plain text is enough here
    assert isinstance(reserve(ledger, boot, "third", "0.10"), Granted)
    return ledger, boot


def test_derived_state_is_what_movements_and_clock_make_it(shelf: Shelf) -> None:
    ledger, _ = limited(shelf)
    assert shelf.sql("SELECT kind, used FROM tally") == [("tokens", 1 + 100 + 3_000)]  # the first settled before
    assert shelf.sql("SELECT kind, value, level, taken FROM bucket") == [
        ("rpm", 1_000, 998 * PARTS, 2),
        ("tpm", 1_000, 930 * PARTS, 70),
    ]
    assert ledger.verify().problems == ()
    ledger.close()


def test_without_a_limit_nothing_is_kept_of_it(shelf: Shelf) -> None:
    ledger, _ = limited(shelf)
    for kind in ("tpm", "rpm", "concurrent"):
        assert ledger.unset_rate(REPO, kind, source="command")
    for counted in ("tokens", "runs", "hours"):
        assert ledger.unset_count(REPO, counted, "day", source="command")
    assert settle(ledger, "third", "0.01")
    for table in ("bucket", "tally", "beside_in_force"):
        assert shelf.sql(f"SELECT count(*) FROM {table}") == [(0,)]
    assert ledger.verify().problems == ()
    ledger.close()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "UPDATE tally SET used = used - 1",
            "repo:a (tokens, 2026-11-22@UTC): 3,100 are counted, its entries say 3,101",
        ),
        ("UPDATE tally SET ends_at = ends_at + 1", "the row does not begin and end as its day does"),
        ("UPDATE tally SET kind = 'runs'", "3,101 are counted, its entries say 0"),
        ("UPDATE tally SET window = 'week'", "a row counts for no limit"),
        (
            "UPDATE bucket SET taken = 0 WHERE kind = 'rpm'",
            "the bucket of repo:a (rpm): 0 were taken, its entries say 2",
        ),
        ("UPDATE bucket SET level = level * 9", "the bucket of repo:a (tpm) is fuller than a minute fills it"),
        ("UPDATE bucket SET level = -9 * level WHERE kind = 'tpm'", "or emptier than what was taken from it"),
        ("UPDATE bucket SET value = 9999", "does not have the size of the limit in force"),
        ("DELETE FROM bucket WHERE kind = 'tpm'", "the bucket of repo:a (tpm) is missing"),
        (
            "UPDATE beside_in_force SET value = 7 WHERE kind = 'runs'",
            "the limit in force on repo:a (runs/day) is not the",
        ),
        (
            "DELETE FROM beside_in_force WHERE kind = 'concurrent'",
            "the limit in force on repo:a (concurrent) is not the",
        ),
        (
            "INSERT INTO beside_in_force SELECT 'all', kind, window, value, source, 99 FROM beside_in_force",
            "nobody set the limit on all (hours/day)",
        ),
        ("DROP TRIGGER movement_counts", "the trigger movement_counts is missing"),
        ("DROP TRIGGER movement_takes", "the trigger movement_takes is missing"),
        ("DROP VIEW hold_tokens", "the view hold_tokens is missing"),
    ],
)
def test_a_change_behind_its_back_is_named(shelf: Shelf, change: str, problem: str) -> None:
    ledger, _ = limited(shelf)
    shelf.sql(change)
    problems = ledger.verify().problems
    assert any(problem in it for it in problems), problems
    abandon(ledger)  # books like these cannot be closed


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM beside_change",
        "UPDATE beside_change SET value = 1",
        "UPDATE virtual_key SET booked_at = 1, revoked_at = 1",
        "INSERT INTO beside_change (scope, kind, window, source, value, at) VALUES ('all', 'tpm', 'day', 'file', 1, 1)",
        "INSERT INTO beside_change (scope, kind, window, source, value, at) VALUES ('all', 'runs', '', 'file', 1, 1)",
        "INSERT INTO beside_change (scope, kind, window, source, value, at) VALUES ('all', 'cpm', '', 'file', 1, 1)",
        "INSERT INTO beside_change (scope, kind, window, source, value, at) VALUES ('all', 'tpm', '', 'file', -1, 1)",
    ],
)
def test_what_was_said_stays_said_and_is_said_right(shelf: Shelf, change: str) -> None:
    ledger, _ = limited(shelf)
    with pytest.raises(sqlite3.IntegrityError, match=r"never|CHECK"):
        shelf.sql(change)
    ledger.close()


def test_an_answer_of_a_dead_gateway_keeps_its_tokens_and_gives_back_its_place(shelf: Shelf) -> None:
    ledger, boot = limited(shelf)
    ledger.set_rate(RateLimit(scope=ALL, kind="concurrent", value=1, source="command"))
    assert isinstance(reserve(ledger, boot, "fourth", "0.10"), Busy)
    ledger.stop_boot(boot)
    assert isinstance(reserve(ledger, ledger.start_boot(), "fifth", "0.10"), Granted)
    (count,) = [it for it in ledger.counts([REPO]) if it.kind == "tokens"]
    assert count.used == 101 + 2 * 3_000
    assert ledger.verify().problems == ()
    ledger.close()
