"""`ledger verify` notices whatever was changed behind the ledger's back."""

from __future__ import annotations

import pytest
from tests.stores.books import Shelf, reserve

_ALLOW = (
    "DROP TRIGGER movement_stays; DROP TRIGGER movement_is_kept; DROP TRIGGER movement_follows; DROP TRIGGER hold_stays"
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE budget SET spent = 0 WHERE scope = 'all'", "all (2026-11-22@UTC): spent is 0.000000000, its entries"),
        ("UPDATE budget SET held = held - 1 WHERE scope = 'key:k1'", "key:k1 (total): held is"),
        ("UPDATE budget SET limit_nano = 1 WHERE scope = 'all'", "does not carry the limit in force on its day"),
        ("UPDATE budget SET ends_at = ends_at - 1 WHERE scope = 'all'", "does not begin and end as its day does"),
        (
            "UPDATE budget SET starts_at = starts_at + 1 WHERE scope = 'key:k1'",
            "does not begin and end as its total does",
        ),
        (
            "UPDATE budget SET label = '2026-11-22@Nowhere' WHERE scope = 'all'",
            "does not begin and end as its day does",
        ),
        ("UPDATE budget SET label = '2026-11-21@UTC' WHERE scope = 'all'", "does not begin and end as its day does"),
        ("UPDATE limit_in_force SET limit_nano = 1 WHERE scope = 'all'", "the limit in force on all (day)"),
        ("DELETE FROM limit_in_force WHERE scope = 'all'", "the limit in force on all (day)"),
        ("DELETE FROM open_hold", "hold second is not what its movements say"),
        ("UPDATE open_hold SET held = 1", "hold second is not what its movements say"),
        ("UPDATE hold SET amount = 1 WHERE id = 'second'", "hold second is not what its movements say"),
        ("UPDATE boot SET ended_at = 1", "hold second is open, and its gateway has ended"),
        ("UPDATE movement SET spent_delta = 7 WHERE kind = 'settled'", "spent is 0.100000000"),
        ("UPDATE movement SET at = 0 WHERE id = 3", "movement 3 is booked before the one that it follows"),
        ("DELETE FROM movement WHERE id = 2", "1 of 3 movements are missing"),
        ("DROP TRIGGER budget_fence", "the trigger budget_fence is missing from the schema"),
        ("CREATE TABLE mine (it TEXT)", "the table mine does not belong to the schema"),
        ("DROP INDEX hold_by_key", "the index hold_by_key is missing"),
    ],
)
def test_a_change_behind_its_back_is_named(shelf: Shelf, change: str, problem: str) -> None:
    ledger, boot = shelf.filled()
    reserve(ledger, boot, "second", "0.30")
    assert ledger.verify().problems == ()
    for statement in (*_ALLOW.split("; "), change):
        shelf.sql(statement)
    problems = [it for it in ledger.verify().problems if "movement_" not in it and "hold_stays" not in it]
    assert any(problem in it for it in problems), problems
    ledger.close()


def test_sound_books_count_their_entries(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    reserve(ledger, boot, "second", "0.30")
    assert ledger.verify().entries == 1
    ledger.close()
    assert shelf.open().verify().entries == 2
