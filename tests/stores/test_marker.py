"""The marker is read as it was written, and is never half there."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.clocks import START

from crewcap.errors import LedgerError
from crewcap.stores import marker
from crewcap.stores.marker import Marker

SEEN = Marker(uuid="u-1", movement=7, at=START)


def test_a_marker_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.marker"
    assert marker.read(path) is None
    marker.write(path, replace(SEEN, movement=0))
    marker.write(path, SEEN)
    assert marker.read(path) == SEEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"uuid": "u"',
        '{"uuid": "u", "movement": "many", "at": "2026-11-22T10:00:00+00:00"}',
        '{"uuid": "u", "movement": 1, "at": "2026-11-22T10:00:00"}',
    ],
)
def test_a_marker_that_nobody_can_read_is_not_no_marker(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.marker"
    path.write_text(text)
    with pytest.raises(LedgerError, match="cannot be read") as refused:
        marker.read(path)
    assert str(path) in refused.value.help
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerError, match="cannot be read"):
        marker.read(path)


def test_a_marker_of_other_books_is_never_written_over(tmp_path: Path) -> None:
    """Books were restored while somebody had the lost ones open: what that one knows is of no use any more."""
    path = tmp_path / "ledger.marker"
    marker.write(path, SEEN)
    with pytest.raises(LedgerError, match="names other books"):
        marker.write(path, Marker(uuid="u-2", movement=9, at=START))
    assert marker.read(path) == SEEN
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("?")  # nobody's, and read by nobody
    marker.write(path, SEEN)
    assert marker.read(path) == SEEN


def test_a_marker_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.marker"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(LedgerError, match="cannot be written"):
        marker.write(path, SEEN)
    assert list(tmp_path.iterdir()) == [path]
