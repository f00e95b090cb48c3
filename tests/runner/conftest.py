"""A user's repository with a bug, a home, and prices that are read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runner.rig import Shop

from crewcap.prices import Book, load


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@pytest.fixture
def shop(tmp_path: Path, book: Book) -> Iterator[Shop]:
    """`async with shop.open(agent) as rig:`"""
    made = Shop(folder=tmp_path, book=book)
    yield made
    made.close()
