"""A user's repository with a bug, a home, and prices that are read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runner.rig import Shop
from tests.workspaces.repos import make_repository

from crewcap.prices import Book, load


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository is copied in a tenth of the time in which it is made."""
    return make_repository(tmp_path_factory.mktemp("template") / "shop")


@pytest.fixture
def shop(tmp_path: Path, book: Book, template: Path) -> Iterator[Shop]:
    """`async with shop.open(agent) as rig:`"""
    made = Shop(folder=tmp_path, book=book, template=template)
    yield made
    made.close()
