"""`ledger verify` notices whatever was changed behind the ledger's back, and a gateway does not start on it."""

from __future__ import annotations

import pytest
from tests.stores.books import reserve, settle
from tests.stores.postgres_shelf import Shelf, usd

from crewcap.core.budget import Granted, HoldId, Scope
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.pricing import Usage
from crewcap.errors import LedgerError
from crewcap.stores import Settlement

REPO = Scope("repo:a")


@pytest.fixture
def books(desk: Shelf) -> Shelf:
    """One request settled before there were limits beside money, one of 100 tokens after, one in flight."""
    ledger, boot = desk.filled()
    for kind in ("tpm", "rpm", "concurrent"):
        ledger.set_rate(RateLimit(scope=REPO, kind=kind, value=1_000, source="command"))
    for counted in ("tokens", "runs", "hours"):
        ledger.set_count(CountLimit(scope=REPO, kind=counted, window="day", value=50_000, source="command"))
    assert isinstance(reserve(ledger, boot, "second", "0.10"), Granted)
    usage = Usage(input=60, cache_read=30, output=10)
    end = Settlement(hold=HoldId("second"), kind="settled", spent=usd("0.01"), uncertain=usd(0), usage=usage)
    assert ledger.settle(end)
    assert isinstance(reserve(ledger, boot, "third", "0.10"), Granted)
    assert ledger.verify().problems == ()
    return desk


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE budget SET spent = 0 WHERE scope = 'all'", "all (2026-11-22@UTC): spent is 0.000000000, its entries"),
        ("UPDATE budget SET held = held - 1 WHERE scope = 'key:k1'", "key:k1 (total): held is"),
        ("UPDATE budget SET limit_nano = 1 WHERE scope = 'all'", "does not carry the limit in force on its day"),
        ("UPDATE budget SET ends_at = ends_at - 1 WHERE scope = 'all'", "does not begin and end as its day does"),
        ("UPDATE budget SET starts_at = starts_at + 1 WHERE scope = 'key:k1'", "does not begin and end as its total"),
        ("UPDATE budget SET label = '2026-11-22@Nowhere' WHERE scope = 'all'", "does not begin and end as its day"),
        ("UPDATE limit_in_force SET limit_nano = 1 WHERE scope = 'all'", "the limit in force on all (day)"),
        ("DELETE FROM limit_in_force WHERE scope = 'all'", "the limit in force on all (day)"),
        ("INSERT INTO limit_in_force VALUES ('team:x', 'day', 1, 'file', 1)", "nobody set the limit on team:x (day)"),
        ("DELETE FROM open_hold", "hold third is not what its movements say"),
        ("UPDATE open_hold SET held = 1", "hold third is not what its movements say"),
        ("UPDATE open_hold SET shrunk = true", "hold third is not what its movements say"),
        ("UPDATE hold SET amount = 1 WHERE id = 'third'", "hold third is not what its movements say"),
        ("UPDATE hold SET key = 'nobody' WHERE id = 'third'", "hold third belongs to no key or to no gateway"),
        ("UPDATE boot SET ended_at = 1", "hold third is open, and its gateway has ended"),
        ("UPDATE movement SET spent_delta = 7 WHERE kind = 'settled'", "spent is 0.110000000"),
        ("UPDATE movement SET at = 0 WHERE id = 3", "movement 3 is booked before the one that it follows"),
        ("UPDATE movement SET hold = 999 WHERE id = 5", "movement 5 belongs to no hold"),
        ("DELETE FROM movement WHERE id = 2", "1 of 5 movements are missing"),
        (
            "UPDATE tally SET used = used - 1",
            "repo:a (tokens, 2026-11-22@UTC): 3,100 are counted, its entries say 3,101",
        ),
        ("UPDATE tally SET ends_at = ends_at + 1", "the row does not begin and end as its day does"),
        ("UPDATE tally SET kind = 'runs'", "3,101 are counted, its entries say 0"),
        ("UPDATE tally SET \"window\" = 'week'", "a row counts for no limit"),
        (
            "UPDATE bucket SET taken = 0 WHERE kind = 'rpm'",
            "the bucket of repo:a (rpm): 0 were taken, its entries say 2",
        ),
        ("UPDATE bucket SET level = level * 9", "the bucket of repo:a (tpm) is fuller than a minute fills it"),
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
    ],
)
def test_a_change_behind_its_back_is_named(books: Shelf, change: str, problem: str) -> None:
    """As a superuser may do it, past every trigger."""
    books.past_triggers(change)
    problems = books.opened[0].verify().problems
    assert any(problem in it for it in problems), problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP TRIGGER budget_fence ON crewcap.budget", "the trigger budget_fence is missing from the schema"),
        (
            "ALTER TABLE crewcap.budget DISABLE TRIGGER budget_fence",
            "the trigger budget_fence is not as crewcap made it",
        ),
        ("CREATE TABLE crewcap.mine (it text)", "the column mine.it does not belong to the schema"),
        ("DROP INDEX crewcap.movement_once", "the index movement_once is missing"),
        (
            "ALTER TABLE crewcap.hold ALTER COLUMN amount TYPE numeric",
            "the column hold.amount is not as crewcap made it",
        ),
        (
            "ALTER TABLE crewcap.hold DROP CONSTRAINT hold_amount_check",
            "the constraint hold.hold_amount_check is missing",
        ),
        ("ALTER FUNCTION crewcap.take_book() SECURITY DEFINER", "the function take_book is not as crewcap made it"),
        ("CREATE RULE quiet AS ON INSERT TO crewcap.refusal DO INSTEAD NOTHING", "the rule quiet does not belong"),
        (
            "CREATE OR REPLACE FUNCTION crewcap.budget_fence() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "the function budget_fence is not as crewcap made it",
        ),
    ],
)
def test_a_fence_that_somebody_changed_is_named_and_no_gateway_starts_on_it(
    books: Shelf, change: str, problem: str
) -> None:
    books.sql(change)
    ledger = books.opened[0]
    assert any(problem in it for it in ledger.verify().problems), ledger.verify().problems
    with pytest.raises(LedgerError, match="is not sound") as caught:
        ledger.start_boot()
    assert "ledger verify" in caught.value.help


def test_sound_books_count_their_entries(desk: Shelf) -> None:
    ledger, boot = desk.filled()
    reserve(ledger, boot, "second", "0.30")
    assert ledger.verify().entries == 1
    assert settle(ledger, "second", "0.30")
    assert ledger.verify().entries == 2
    assert ledger.verify().problems == ()


def test_a_server_that_does_not_wait_for_its_disk_is_refused(desk: Shelf) -> None:
    """With fsync off, a power cut would give back what was spent."""
    ledger, _ = desk.filled()
    desk.sql("ALTER SYSTEM SET fsync = off")
    try:
        desk.reload(fsync="off")
        with pytest.raises(LedgerError, match="fsync = off"):
            ledger.start_boot()
    finally:
        desk.sql("ALTER SYSTEM RESET fsync")
        desk.reload(fsync="on")
