"""What was seen of prompt caches is kept beside the books, in PostgreSQL as in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.stores.postgres_shelf import Shelf

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import Money
from crewcap.core.savings import CacheTurn
from crewcap.stores.postgres.savings import PostgresCacheTurns

FIRST = CacheTurn(hold=HoldId("h1"), run="r1", key=KeyId("k1"), conversation="c", gap_ms=None, kept=0)
SECOND = replace(
    FIRST, hold=HoldId("h2"), gap_ms=1_500, kept=9_000, lost=8_000, cost=Money(12_345), broke="system, character 7"
)


@pytest.fixture
def store(desk: Shelf) -> Iterator[PostgresCacheTurns]:
    found = PostgresCacheTurns(desk.url)
    yield found
    found.close()


def test_what_is_noted_is_read_by_run_and_by_key_in_the_order_of_its_requests(store: PostgresCacheTurns) -> None:
    other = replace(FIRST, hold=HoldId("h0"), run="", key=KeyId("k2"))
    store.note([SECOND, other])
    store.note([FIRST])
    assert store.of_run("r1") == store.of_key(KeyId("k1")) == (FIRST, SECOND)
    assert store.of_key(KeyId("k2")) == (other,)
    assert store.of_run("r9") == store.of_run("") == ()
    store.note([])


def test_what_is_handed_in_again_changes_nothing(store: PostgresCacheTurns) -> None:
    """A flush that failed half-way is tried again as a whole."""
    store.note([FIRST])
    store.note([replace(FIRST, kept=5), SECOND])
    assert store.of_run("r1") == (FIRST, SECOND)


def test_the_books_are_sound_with_it(store: PostgresCacheTurns, desk: Shelf) -> None:
    store.note([FIRST])
    assert desk.open().verify().problems == ()
