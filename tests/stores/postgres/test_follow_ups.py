"""What people wrote at issues, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.run_books import queued
from tests.contracts.run_follow_ups import FollowUpsContract
from tests.stores.postgres_server import Server
from tests.stores.run_books import PostgresRunBooks

from crewcap.core.runs import RunId


class TestPostgresFollowUps(FollowUpsContract):
    """The suite over a database of its own."""

    @pytest.fixture
    def books(self, postgres: Server, tmp_path: Path) -> Iterator[PostgresRunBooks]:
        found = PostgresRunBooks(postgres, tmp_path)
        yield found
        found.end()

    def test_a_run_is_from_the_home_that_wrote_it_down(self, books: PostgresRunBooks) -> None:
        """Its issue is a file there; the same path of another machine names another file."""
        here, there = books.open("here"), books.open("there")
        run = queued(here)
        assert there.get(run.id) == run
        assert (here.is_from_here(run.id), there.is_from_here(run.id)) == (True, False)
        assert not here.is_from_here(RunId("01JNONE"))
