"""The short form of `make torture`: every kind of trouble at least once, with a fresh seed that a failure names."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest
from torture.parts import PARTS


@pytest.mark.parametrize("name", PARTS)
def test_the_books_live_through_it(name: str, tmp_path: Path) -> None:
    """Nothing over a limit, nothing billed that is missing, no hold that nobody has, `ledger verify` clean."""
    seed = secrets.randbits(32)
    rows = list(PARTS[name](tmp_path, random.Random(seed), is_short=True))
    assert [(seed, row.name, row.broken) for row in rows if row.broken] == []
    assert all(row.struck for row in rows), [(seed, row.name) for row in rows if not row.struck]
