"""The book is read-only, so one is enough."""

from datetime import UTC, datetime

import pytest

from crewcap.prices import Book, library_alone, load

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # the day on which the prices below were read


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@pytest.fixture(scope="session")
def library() -> Book:
    return library_alone()


@pytest.fixture
def now() -> datetime:
    return NOW
