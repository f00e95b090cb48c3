"""An address is read as the ledger's own driver reads it."""

from __future__ import annotations

import pytest

from crewcap.runner.worker.engine_store import database_url


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgresql://db.example/crewcap", "postgresql+psycopg://db.example/crewcap?"),
        ("postgres://team@db.example:6432/crewcap", "postgresql+psycopg://team@db.example:6432/crewcap?"),
        ("postgresql://team@db.example", "postgresql+psycopg://team@db.example/team?"),
        ("postgresql://team@/?host=/run/pg&dbname=books", "postgresql+psycopg://team@/books?host=%2Frun%2Fpg"),
        ("postgresql://a:1,b:2/books", "postgresql+psycopg:///books?host=a%3A1&host=b%3A2"),
        ("postgresql://t@h/b?sslmode=require", "postgresql+psycopg://t@h/b?sslmode=require"),
    ],
)
def test_the_same_address_serves_both_drivers(written: str, read: str) -> None:
    """The ledger's is given to the engine as it is."""
    assert database_url(written) == read
