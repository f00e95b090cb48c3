"""What the tests of the stores share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stores.books import Shelf
from tests.stores.postgres_server import Server, shared


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Server:
    return shared()
