"""What is thrown away is out of its place at once, and nothing outside of the root is ever reached."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crewcap.runner.worker.trash import empty_trash, in_trash, throw


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "runs" / "one" / "workspace" / "in").mkdir(parents=True)
    (tmp_path / "root" / "runs" / "one" / "workspace" / "in" / "file").write_bytes(bytes(1 << 20))
    (tmp_path / "outside" / "workspace").mkdir(parents=True)
    (tmp_path / "outside" / "workspace" / "file").write_text("theirs")
    return tmp_path / "root"


def test_a_folder_is_moved_and_then_deleted(root: Path) -> None:
    assert throw(root, ("runs", "one"), "workspace") == ""
    assert not (root / "runs" / "one" / "workspace").exists()
    (thrown,) = in_trash(root)
    assert (thrown / "in" / "file").exists()
    assert asyncio.run(empty_trash(root)) >= 1 << 20
    assert list(in_trash(root)) == []
    assert asyncio.run(empty_trash(root)) == 0


def test_what_is_not_there_needs_no_trash(root: Path) -> None:
    assert throw(root, ("runs", "one"), "home") == ""
    assert list(in_trash(root)) == []


@pytest.mark.parametrize("linked", ["runs", "runs/one", "runs/one/workspace", "trash"])
def test_no_link_is_followed_wherever_it_is(root: Path, linked: str) -> None:
    place = root / linked
    if place.exists():
        place.rename(root / "away")
    place.symlink_to(root.parent / "outside")
    (root.parent / "outside" / "one" / "workspace").mkdir(parents=True)
    assert throw(root, ("runs", "one"), "workspace") == "it is a link or a file, and not a folder of ours"
    assert asyncio.run(empty_trash(root)) == 0
    assert (root.parent / "outside" / "workspace" / "file").read_text() == "theirs"
    assert (root.parent / "outside" / "one" / "workspace").exists()
