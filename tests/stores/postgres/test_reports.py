"""Reports in PostgreSQL; what is the same in every store stands in the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.reports import Opened, ReportsContract
from tests.stores.postgres_shelf import Shelf

from crewcap.stores.postgres.ledger import PostgresLedger
from crewcap.stores.postgres.prices import PostgresPriceNotes
from crewcap.stores.postgres.reports import PostgresReports


class TestPostgresReports(ReportsContract):
    @pytest.fixture
    def clocks(self, desk: Shelf) -> Clocks:
        return desk.clocks

    @pytest.fixture
    def ledger(self, desk: Shelf) -> PostgresLedger:
        return desk.open()

    @pytest.fixture
    def opened(self, desk: Shelf) -> Iterator[Opened]:
        made: list[PostgresReports] = []

        def open_(**options: int) -> PostgresReports:
            made.append(PostgresReports(desk.url, **options))
            return made[-1]

        yield open_
        for each in made:
            each.close()

    @pytest.fixture
    def notes(self, desk: Shelf) -> Iterator[PostgresPriceNotes]:
        found = PostgresPriceNotes(desk.url)
        yield found
        found.close()

    @pytest.fixture(autouse=True)
    def _desk(self, desk: Shelf) -> None:
        self.desk = desk

    def damage(self, statement: str) -> None:
        self.desk.sql(statement.format("crewcap."))
