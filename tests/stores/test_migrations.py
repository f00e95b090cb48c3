"""Migrations run forward, once, whole; newer or edited ones are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crewcap.core.runs import RunState
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores.migrations import Migration, known, migrate, statements
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.stores.sqlite.verify import wrong_schema

ONE = Migration(1, "0001_one.sql", "CREATE TABLE one (a INTEGER) STRICT;")
TWO = Migration(2, "0002_two.sql", "CREATE TABLE two (a INTEGER) STRICT; INSERT INTO one VALUES (1);")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_migrations_run_once_and_are_remembered(db: sqlite3.Connection) -> None:
    migrate(db, [ONE])
    migrate(db, [ONE, TWO])
    migrate(db, [ONE, TWO])
    assert db.execute("SELECT number, name FROM migration").fetchall() == [(1, ONE.name), (2, TWO.name)]
    assert db.execute("SELECT a FROM one").fetchall() == [(1,)]


def test_a_migration_that_fails_leaves_nothing_of_itself(db: sqlite3.Connection) -> None:
    broken = Migration(2, "0002_two.sql", "CREATE TABLE two (a INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(db, [ONE, broken])
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'two'").fetchall() == []
    migrate(db, [ONE, TWO])


def test_a_downgrade_is_refused(db: sqlite3.Connection) -> None:
    migrate(db, [ONE, TWO])
    with pytest.raises(LedgerError, match=r"has schema 2 \(0002_two.sql\), this crewcap knows 1"):
        migrate(db, [ONE])


def test_an_edited_migration_is_refused(db: sqlite3.Connection) -> None:
    migrate(db, [ONE])
    with pytest.raises(LedgerError, match=r"another 0001_one\.sql"):
        migrate(db, [Migration(1, "0001_one.sql", ONE.sql + " ")])


def test_ours_are_numbered_without_a_gap_and_make_strict_tables(db: sqlite3.Connection) -> None:
    assert [migration.number for migration in known()] == list(range(1, len(known()) + 1))
    migrate(db)
    tables = db.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    assert {name for name, strict in tables if not strict} <= {"sqlite_schema", "sqlite_sequence"}


def test_a_script_is_cut_where_sqlite_says() -> None:
    """A trigger's body has semicolons of its own."""
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n    SELECT 1;\n    SELECT 2;\nEND;"
    table = "-- note; with one\nCREATE TABLE a (b DEFAULT ';');"
    assert statements(f"{table} SELECT 1;\n{trigger}\n\n") == [table, "SELECT 1;", trigger]
    assert statements("SELECT 1; SELECT 2") == ["SELECT 1;", "SELECT 2"]


def test_books_from_before_corrections_keep_every_movement_and_balance(tmp_path: Path) -> None:
    """SQLite cannot change a CHECK: the table is written anew, under the same numbers, with all that hangs on it."""
    file = tmp_path / "ledger.db"
    old = sqlite3.connect(file, isolation_level=None)
    migrate(old, known()[:7])
    for statement in _LIFE:
        old.execute(statement)
    before = [old.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in _KEPT]
    migrate(old)
    assert [old.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in _KEPT] == before
    assert list(wrong_schema(old)) == []
    assert old.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        old.execute("UPDATE movement SET spent_delta = 0")
    old.execute(
        "INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)"
        " VALUES (1, 'corrected', 0, 0, 4, 9, 9)"
    )
    assert old.execute("SELECT spent FROM budget").fetchone() == (34,)
    old.close()


def test_a_hold_of_an_earlier_version_ends_in_the_same_balances(tmp_path: Path) -> None:
    """Triggers were written anew: what was open before they were is closed by them."""
    db = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    migrate(db, known()[:10])
    for statement in _LIFE:
        db.execute(statement)
    migrate(db)
    assert list(wrong_schema(db)) == []
    assert db.execute("SELECT spent, uncertain, held FROM budget").fetchall() == [(30, 0, 40)]
    moves = ("'shrunk', -10, 0, 0", "'uncertain', -30, 25, 5", "'reconciled', 0, -25, 20")
    found = []
    for move in moves:
        db.execute(
            "INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall)"
            f" VALUES (2, {move}, 9, 9)"
        )
        open_now = db.execute("SELECT held, uncertain, shrunk, closed FROM open_hold").fetchall()
        found.append((open_now, *db.execute("SELECT spent, uncertain, held FROM budget").fetchall()))
    assert found == [
        ([(30, 0, 1, 0)], (30, 0, 30)),
        ([(0, 25, 1, 1)], (35, 25, 0)),
        ([], (55, 0, 0)),
    ]
    db.close()


def test_sums_that_could_not_tell_a_cards_limits_apart_are_made_again(tmp_path: Path) -> None:
    """Of a card that has a limit where no list of ours has one; other books keep what was added up."""
    for above, left in ((20_000, 0), (200_000, 1)):
        db = sqlite3.connect(tmp_path / f"{above}.db", isolation_level=None)
        migrate(db, known()[:11])
        db.execute("INSERT INTO card VALUES ('c', ?, 'b', 1)", (f'{{"tiers":[{{"above":{above}}}]}}',))
        db.execute(
            "INSERT INTO bundle VALUES (1, 'k', 'p', 'm', 'c', 'settled', 0, 0, 0, '{}', 1, 1, 0, 0, 1, 0, 0, 0, 1, 0)"
        )
        db.execute("UPDATE bundled SET through = 1")
        migrate(db)
        assert list(wrong_schema(db)) == []
        found = db.execute("SELECT (SELECT count(*) FROM bundle), through FROM bundled").fetchone()
        assert found == (left, left)
        db.close()


def test_books_with_a_live_run_of_an_earlier_version_go_on(tmp_path: Path) -> None:
    """What that version did not know of a run is as it was for all runs then."""
    home = Home(tmp_path)
    old = sqlite3.connect(home.ledger, isolation_level=None)
    migrate(old, known()[:8])
    old.execute(
        "INSERT INTO run (id, slug, number, tracker, issue, state, is_open, created_at, document)"
        " VALUES ('01J', 'fix', 1, 'files', 'fix', 'running', 1, '2026-11-22T02:00:00+00:00', ?)",
        (_OLD_RUN,),
    )
    migrate(old)
    assert list(wrong_schema(old)) == []
    old.close()
    runs = SqliteRuns(home, clock=lambda: datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
    (run,) = runs.list(open_only=True)
    runs.say(run.id, "pause")
    runs.save(replace(run, state=RunState.PREPARING, attempt=2))
    assert (run.hosted, run.trigger, run.question) == (False, "", None)
    assert [(run.state, run.attempt) for run in runs.find("fix.1")] == [("preparing", 2)]
    runs.close()


_OLD_RUN = (
    '{"id":"01J","name":"fix.1","issue":{"tracker":"files","key":"fix","title":"Fix","body":""},'
    '"state":"running","repo":"shop","repo_path":"/srv/shop","created_at":"2026-11-22T02:00:00Z"}'
)
_KEPT = ("movement", "told", "hold_tokens", "budget", "open_hold")
_LIFE = (
    "INSERT INTO boot (id, pid, started_at) VALUES ('b', 1, 0)",
    "INSERT INTO virtual_key (id, hash, created_at, models, capped, run, label) VALUES ('k', 'h', 0, '[]', 1, '', '')",
    "INSERT INTO key_scope (key, scope, place) VALUES ('k', 'all', 0)",
    (
        "INSERT INTO budget (scope, window, label, starts_at, ends_at, limit_nano, spent, held, uncertain)"
        " VALUES ('all', 'total', 'total', 0, 99, 100, 0, 0, 0)"
    ),
    *(
        "INSERT INTO hold (id, boot, key, booked_at, amount, provider, model, book, prompt_bound, output_limit,"
        " asked_output, agent, parent_agent, notes)"
        f" VALUES ('{name}', 'b', 'k', 1, 40, 'p', 'm', '', 5, 5, 5, '', '', '[]')"
        for name in ("settled", "open")
    ),
    *(
        "INSERT INTO movement (hold, kind, held_delta, uncertain_delta, spent_delta, at, wall, output)"
        f" VALUES ({hold}, '{kind}', {held}, 0, {spent}, 2, 2, {output})"
        for hold, kind, held, spent, output in (
            (1, "sent", 40, 0, 0),
            (1, "settled", -40, 30, 7),
            (2, "sent", 40, 0, 0),
        )
    ),
)
