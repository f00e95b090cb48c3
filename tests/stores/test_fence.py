"""The database's own checks: what `sql/0001_ledger.sql` refuses, whoever asks."""

from __future__ import annotations

import sqlite3

import pytest
from tests.stores.books import Shelf, reserve

from crewcap.core.money import Money

_HOLD = """
INSERT INTO hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit, asked_output,
    agent, parent_agent, notes)
SELECT :id, boot, key, booked_at, :amount, '', '', '', 0, 0, 0, '', '', '[]' FROM hold LIMIT 1
"""
_MOVE = """
INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)
SELECT seq, :kind, :held, :uncertain, :spent, 9000000000000000, 0 FROM hold WHERE id = :id
"""
_CENT = Money.usd("0.01").nano


def _move(shelf: Shelf, hold: str, kind: str, held: int, uncertain: int = 0, spent: int = 0) -> None:
    shelf.sql(_MOVE, id=hold, kind=kind, held=held, uncertain=uncertain, spent=spent)


@pytest.fixture
def books(shelf: Shelf) -> Shelf:
    """$0.10 of $1.00 spent by `first`; `second` holds $0.30; `third` has no movement yet and is for $0.61."""
    ledger, boot = shelf.filled()
    reserve(ledger, boot, "second", "0.30")
    shelf.sql(_HOLD, id="third", amount=61 * _CENT)
    return shelf


def test_a_hold_over_a_limit_is_refused_by_the_database_itself(books: Shelf) -> None:
    """The last fence: it stands even if every line of Python above it is wrong."""
    with pytest.raises(sqlite3.IntegrityError, match="the fence: this hold would take a budget over its limit"):
        _move(books, "third", "sent", 61 * _CENT)
    books.sql(_HOLD, id="fourth", amount=60 * _CENT)
    _move(books, "fourth", "sent", 60 * _CENT)


def test_a_hold_that_meets_a_limit_without_a_row_is_refused(books: Shelf) -> None:
    books.sql("DELETE FROM budget WHERE scope = 'all'")
    books.sql(_HOLD, id="fourth", amount=1)
    with pytest.raises(sqlite3.IntegrityError, match="has no budget row"):
        _move(books, "fourth", "sent", 1)


def test_a_hold_is_opened_with_the_amount_that_it_was_made_for(books: Shelf) -> None:
    for held, spent in ((1, 0), (61 * _CENT, 1)):
        with pytest.raises(sqlite3.IntegrityError, match="the amount that it was made for"):
            _move(books, "third", "sent", held, spent=spent)


@pytest.mark.parametrize(
    ("hold", "kind", "held", "uncertain", "spent"),
    [
        ("second", "settled", -1, 0, 0),  # not all that was held
        ("second", "settled", -30 * _CENT, 0, -1),  # a negative cost
        ("second", "shrunk", 1, 0, 0),  # grows
        ("second", "shrunk", -31 * _CENT, 0, 0),  # below nothing
        ("second", "shrunk", -1, 0, 1),  # spends
        ("second", "reconciled", 0, 0, 0),  # not uncertain
        ("first", "settled", 0, 0, 0),  # closed
        ("first", "reconciled", 0, 0, 1),  # certain
        ("third", "released", 0, 0, 0),  # never sent
    ],
)
def test_a_movement_must_follow_from_what_its_hold_is(
    books: Shelf, hold: str, kind: str, held: int, uncertain: int, spent: int
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="does not follow"):
        _move(books, hold, kind, held, uncertain, spent)


def test_a_hold_is_sent_once(books: Shelf) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        _move(books, "second", "sent", 30 * _CENT)


@pytest.mark.parametrize("table", ["hold", "key_scope", "movement", "limit_change", "refusal", "virtual_key"])
def test_what_was_booked_is_never_deleted(books: Shelf, table: str) -> None:
    books.sql("INSERT INTO refusal (key, at, model, needed, message) VALUES ('k1', 0, '', 0, '')")
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
        books.sql(f"DELETE FROM {table}")


@pytest.mark.parametrize(
    "change",
    [
        "hold SET amount = 0",
        "key_scope SET scope = 'all'",
        "movement SET spent_delta = 0",
        "limit_change SET limit_nano = 9",
        "virtual_key SET expires_at = 9",
        "virtual_key SET max_turns = 900",
        "virtual_key SET hash = 'mine'",
    ],
)
def test_what_was_booked_is_never_changed(books: Shelf, change: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=r"never changed|only be revoked"):
        books.sql(f"UPDATE {change}")


def test_a_revoked_key_stays_revoked(books: Shelf) -> None:
    books.sql("UPDATE virtual_key SET revoked_at = 9")
    with pytest.raises(sqlite3.IntegrityError, match="only be revoked, once"):
        books.sql("UPDATE virtual_key SET revoked_at = NULL")


def test_lowering_a_limit_and_losing_an_answer_always_pass(books: Shelf) -> None:
    """The fence asks only when `held` grows: a ledger that refuses to hear what is would only be wrong."""
    books.sql("UPDATE budget SET limit_nano = 1")
    _move(books, "second", "uncertain", -30 * _CENT, uncertain=30 * _CENT)
    assert books.sql("SELECT spent, uncertain, held FROM budget WHERE scope = 'all'") == [(10 * _CENT, 30 * _CENT, 0)]
    _move(books, "second", "reconciled", 0, uncertain=-30 * _CENT, spent=500 * _CENT)
    assert books.sql("SELECT spent, uncertain, held FROM budget WHERE scope = 'all'") == [(510 * _CENT, 0, 0)]


def test_a_float_is_not_money(books: Shelf) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="cannot store REAL"):
        books.sql("UPDATE budget SET spent = 0.5")
