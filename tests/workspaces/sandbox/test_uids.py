"""A user of its own for each living run, where crewcap runs as root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from crewcap.workspaces.sandbox.uids import FIRST, LAST, closed_to, give, is_root, lease

as_root = pytest.mark.skipif(not is_root(), reason="only root can give users away")


@as_root
def test_two_living_runs_have_two_users(tmp_path: Path) -> None:
    one, two = lease(tmp_path), lease(tmp_path)
    assert one.uid != two.uid
    assert all(FIRST <= held.uid <= LAST for held in (one, two))
    one.release()
    two.release()


@as_root
def test_a_user_that_was_given_back_can_be_had_again(tmp_path: Path) -> None:
    first = lease(tmp_path)
    first.release()
    second = lease(tmp_path)
    assert second.uid == first.uid
    second.release()


@pytest.mark.skipif(is_root(), reason="root has others to give")
def test_a_plain_user_has_only_itself(tmp_path: Path) -> None:
    assert lease(tmp_path).uid == os.geteuid()


@as_root
def test_a_tree_is_given_without_following_its_links(tmp_path: Path) -> None:
    """An agent may have put a link to anything where a resumed run is prepared."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    (tree / "link").symlink_to(outside)
    (tree / "deep" / "link").symlink_to(outside / "file")
    give(tree, FIRST)
    owners = {path.name: path.lstat().st_uid for path in (tree, *tree.rglob("*"))}
    assert set(owners.values()) == {FIRST}
    assert (outside.stat().st_uid, (outside / "file").stat().st_uid) == (0, 0)


def test_the_folder_that_is_closed_to_a_user_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(stat.S_IRWXU)
    assert closed_to(os.geteuid(), inner / "x") is None
    assert closed_to(FIRST, inner / "x") in {closed, *closed.parents}
