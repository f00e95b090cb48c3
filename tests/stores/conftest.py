"""What the tests of the stores share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores import postgres_shelf
from tests.stores.books import Shelf
from tests.stores.postgres_server import Server, shared


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def desk(postgres: Server, tmp_path: Path) -> Iterator[postgres_shelf.Shelf]:
    """A database and a home; what a test opens on it is closed."""
    found = postgres_shelf.Shelf(postgres, tmp_path)
    yield found
    found.end()


@pytest.fixture(scope="session")
def postgres() -> Server:
    return shared()
