"""Migrations run forward, once, whole; newer or edited ones are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from crewcap.errors import LedgerError
from crewcap.stores.migrations import Migration, known, migrate, statements

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
