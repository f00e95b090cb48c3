"""The database's own checks: what `sql/postgres/0001_ledger.sql` refuses, whoever asks."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel
import pytest
from tests.stores.books import reserve
from tests.stores.postgres_shelf import Shelf

from crewcap.core.money import Money

_HOLD = """
INSERT INTO crewcap.hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit,
    asked_output, agent, parent_agent, notes)
SELECT $1, boot, key, booked_at, $2, '', '', '', 0, 0, 0, '', '', '[]' FROM crewcap.hold LIMIT 1
"""
_MOVE = """
INSERT INTO crewcap.movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)
SELECT seq, $2, $3, $4, $5, 9000000000000000, 0 FROM crewcap.hold WHERE id = $1
"""
_CENT = Money.usd("0.01").nano


def _move(books: Shelf, hold: str, kind: str, held: int, uncertain: int = 0, spent: int = 0) -> None:
    books.sql(_MOVE, hold, kind, held, uncertain, spent)


@pytest.fixture
def books(desk: Shelf) -> Shelf:
    """$0.10 of $1.00 spent by `first`; `second` holds $0.30; `third` has no movement yet and is for $0.61."""
    ledger, boot = desk.filled()
    reserve(ledger, boot, "second", "0.30")
    desk.sql(_HOLD, "third", 61 * _CENT)
    return desk


def test_a_hold_over_a_limit_is_refused_by_the_database_itself(books: Shelf) -> None:
    """The last fence: it stands even if every function above it is wrong."""
    with pytest.raises(asyncpg.PostgresError, match="the fence: this hold would take a budget over its limit"):
        _move(books, "third", "sent", 61 * _CENT)
    with pytest.raises(asyncpg.PostgresError, match="the fence"):
        books.sql("UPDATE crewcap.budget SET held = held + $1", 61 * _CENT)
    books.sql(_HOLD, "fourth", 60 * _CENT)
    _move(books, "fourth", "sent", 60 * _CENT)


def test_a_hold_that_meets_a_limit_without_a_row_is_refused(books: Shelf) -> None:
    books.sql("DELETE FROM crewcap.budget WHERE scope = 'all'")
    books.sql(_HOLD, "fourth", 1)
    with pytest.raises(asyncpg.PostgresError, match="has no budget row"):
        _move(books, "fourth", "sent", 1)


def test_a_hold_is_opened_with_the_amount_that_it_was_made_for(books: Shelf) -> None:
    for held, spent in ((1, 0), (61 * _CENT, 1)):
        with pytest.raises(asyncpg.PostgresError, match="the amount that it was made for"):
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
    with pytest.raises(asyncpg.PostgresError, match="does not follow"):
        _move(books, hold, kind, held, uncertain, spent)


def test_a_hold_is_sent_once(books: Shelf) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        _move(books, "second", "sent", 30 * _CENT)


def test_time_in_the_books_never_falls_and_numbers_are_the_databases_own(books: Shelf) -> None:
    books.sql(_HOLD, "fourth", 1)
    with pytest.raises(asyncpg.PostgresError, match="never falls"):
        books.sql(_MOVE.replace("9000000000000000", "1"), "fourth", "sent", 1, 0, 0)
    books.sql(_MOVE.replace("(hold,", "(id, hold,").replace("SELECT seq", "SELECT 999, seq"), "fourth", "sent", 1, 0, 0)
    assert books.sql("SELECT max(id), count(*) FROM crewcap.movement") == [(4, 4)]


@pytest.mark.parametrize("table", ["hold", "movement", "limit_change", "refusal", "virtual_key", "boot"])
def test_what_was_booked_is_never_deleted(books: Shelf, table: str) -> None:
    books.sql("INSERT INTO crewcap.refusal (key, at, model, needed, message) VALUES ('k1', 0, '', 0, '')")
    with pytest.raises(asyncpg.PostgresError, match="never deleted"):
        books.sql(f"DELETE FROM crewcap.{table}")


@pytest.mark.parametrize("table", ["hold", "movement", "limit_change", "beside_change", "refusal", "virtual_key"])
def test_what_was_booked_is_not_truncated_either(books: Shelf, table: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="never deleted"):
        books.sql(f"TRUNCATE crewcap.{table}")


@pytest.mark.parametrize(
    "change",
    [
        "hold SET amount = 0",
        "movement SET spent_delta = 0",
        "limit_change SET limit_nano = 9",
        "virtual_key SET expires_at = 9",
        "virtual_key SET max_turns = 900",
        "virtual_key SET hash = 'mine'",
        "virtual_key SET scopes = ARRAY['key:k1', 'all']",
    ],
)
def test_what_was_booked_is_never_changed(books: Shelf, change: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match=r"never changed|only be revoked"):
        books.sql(f"UPDATE crewcap.{change}")


def test_a_revoked_key_stays_revoked(books: Shelf) -> None:
    books.sql("UPDATE crewcap.virtual_key SET revoked_at = 9")
    with pytest.raises(asyncpg.PostgresError, match="only be revoked, once"):
        books.sql("UPDATE crewcap.virtual_key SET revoked_at = NULL")


def test_a_keys_scopes_lead_from_itself_to_everything(books: Shelf) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        books.sql(
            "INSERT INTO crewcap.virtual_key (id, hash, scopes, created_at, booked_at, models, capped, run, label)"
            " VALUES ('x', 'x', '{key:y,all}', 0, 0, '{}', true, '', '')"
        )


def test_an_incident_is_only_ended_once(books: Shelf) -> None:
    books.opened[0].freeze("anthropic", reason="a dearer model")
    for change in ("reason = 'none'", "thawed_at = NULL"):
        with pytest.raises(asyncpg.PostgresError, match="only ended, once"):
            books.sql(f"UPDATE crewcap.incident SET {change}")
    with pytest.raises(asyncpg.PostgresError, match="never deleted"):
        books.sql("DELETE FROM crewcap.incident")


def test_lowering_a_limit_and_losing_an_answer_always_pass(books: Shelf) -> None:
    """The fence asks only when `held` grows: a ledger that refuses to hear what is would only be wrong."""
    books.sql("UPDATE crewcap.budget SET limit_nano = 1")
    _move(books, "second", "uncertain", -30 * _CENT, uncertain=30 * _CENT)
    row = "SELECT spent, uncertain, held FROM crewcap.budget WHERE scope = 'all'"
    assert books.sql(row) == [(10 * _CENT, 30 * _CENT, 0)]
    _move(books, "second", "reconciled", 0, uncertain=-30 * _CENT, spent=500 * _CENT)
    assert books.sql(row) == [(510 * _CENT, 0, 0)]
