"""What a run left goes away, however it lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crewcap.workspaces.removal import remove_aside, remove_tree, set_aside

DEEP = 1_200  # more than the standard library's recursion; its path is longer than one may be


def _dig(top: Path, levels: int) -> None:
    """Folders within folders, the way a hostile program makes them."""
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(top)
        for _ in range(levels):
            Path("d" * 40).mkdir()
            os.chdir("d" * 40)
        Path("bottom").write_text("x")
    finally:
        os.fchdir(before)
        os.close(before)


def test_a_tree_of_any_depth_goes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    _dig(tree, DEEP)
    remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_their_owner_closed_go(tmp_path: Path) -> None:
    """Go's module cache is made of folders that nobody may write."""
    tree = tmp_path / "tree"
    (tree / "a" / "b" / "c").mkdir(parents=True)
    (tree / "a" / "b" / "c" / "file").touch()
    for folder in (tree / "a" / "b" / "c", tree / "a" / "b", tree / "a", tree):
        folder.chmod(0o555 if folder.name == "a" else 0)
    remove_tree(tree)
    assert not tree.exists()


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "link").symlink_to(outside)
    (tree / "link").symlink_to(outside / "file")
    remove_tree(tree)
    assert (outside / "file").exists()
    assert not tree.exists()


def test_a_link_in_the_trees_own_place_goes_alone(tmp_path: Path) -> None:
    (tmp_path / "outside" / "in").mkdir(parents=True)
    (tmp_path / "tree").symlink_to(tmp_path / "outside")
    remove_tree(tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "in").is_dir()


def test_names_that_removal_itself_uses_are_no_hindrance(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / ".crewcap-0" / "x").mkdir(parents=True)
    (tree / ".crewcap-1").touch()
    (tree / "a" / ".crewcap-0" / ".crewcap-1" / "deep").mkdir(parents=True)
    (tree / "a" / ".crewcap-0" / "file").touch()
    remove_tree(tree)
    assert not tree.exists()


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"-rf", b"a" * 255])
def test_odd_names_go(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "tree" / os.fsdecode(name) / os.fsdecode(name)).mkdir(parents=True)
    os.mkfifo(tmp_path / "tree" / "pipe")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_what_is_not_there_needs_no_removal(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    (tmp_path / "file").touch()
    remove_tree(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_free_at_once_and_what_was_there_goes_afterwards(tmp_path: Path) -> None:
    """Also what was set aside by a crewcap that did not live to remove it."""
    for _ in range(2):
        (tmp_path / "tree" / "in").mkdir(parents=True)
        set_aside(tmp_path / "tree")
        assert not (tmp_path / "tree").exists()
    (tmp_path / "tree").mkdir()
    remove_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
