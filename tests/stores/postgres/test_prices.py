"""What is remembered of prices is kept beside the books, in PostgreSQL as in a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.price_notes import KEPT, NOVA, PriceNotesContract
from tests.stores.postgres_shelf import Shelf

from crewcap.stores.postgres.prices import PostgresPriceNotes


class TestPostgresPriceNotes(PriceNotesContract):
    """The whole suite."""

    @pytest.fixture
    def store(self, desk: Shelf) -> Iterator[PostgresPriceNotes]:
        found = PostgresPriceNotes(desk.url)
        yield found
        found.close()


def test_the_books_are_sound_with_it(desk: Shelf) -> None:
    store = PostgresPriceNotes(desk.url)
    store.keep([KEPT])
    store.note_unpriced([NOVA])
    store.close()
    assert desk.open().verify().problems == ()
