"""A base that moved while a run worked: said, with what it means, and nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.workspaces.repos import Trip, git

from crewcap.workspaces.repository.merging import Merge
from crewcap.workspaces.repository.review import Returned


def _merge(trip: Trip) -> Merge:
    came = trip.come_home()
    assert isinstance(came, Returned)
    return trip.mirrors.merge(trip.repository, base=trip.base, tip=came.commit)


def _move(user: Path, path: str, content: str, *, times: int = 1) -> None:
    for number in range(times):
        (user / path).write_text(f"{content}{number}\n")
        git(user, "add", ".")
        git(user, "commit", "--quiet", "-m", f"{path} {number}")


def test_a_base_that_stayed_is_not_worth_a_word(trip: Trip) -> None:
    (trip.folder / "adder.py").write_text("better\n")
    merge = _merge(trip)
    assert (merge, merge.sentence) == (Merge(onto="main"), "")


def test_a_base_that_moved_elsewhere_merges_cleanly(trip: Trip, user: Path) -> None:
    (trip.folder / "adder.py").write_text("better\n")
    _move(user, "README", "other ", times=3)
    merge = _merge(trip)
    assert merge == Merge(onto="main", moved_by=3)
    assert merge.sentence == "main moved by 3 commits; merges cleanly"
    assert trip.mirrors.publish(trip.repository, trip.branch).reason == ""


def test_conflicts_are_named_and_the_work_is_kept(trip: Trip, user: Path) -> None:
    (trip.folder / "adder.py").write_text("better\n")
    (trip.folder / "README").write_text("mine\n")
    _move(user, "adder.py", "theirs ")
    _move(user, "README", "theirs ")
    merge = _merge(trip)
    assert merge == Merge(onto="main", moved_by=2, conflicts=("README", "adder.py"))
    assert merge.sentence == "main moved by 2 commits; conflicts in README, adder.py; the work is kept on its branch"
    assert trip.mirrors.publish(trip.repository, trip.branch).reason == ""


def test_a_base_that_was_rewritten_is_a_base_that_moved(trip: Trip, user: Path) -> None:
    (trip.folder / "adder.py").write_text("better\n")
    git(user, "commit", "--quiet", "--amend", "-m", "first, in other words")
    assert _merge(trip).moved_by == 1


def test_no_driver_of_the_repository_merges(trip: Trip, user: Path, tmp_path: Path) -> None:
    """A driver is a command; neither attributes nor the user's own settings start one."""
    git(user, "config", "merge.evil.driver", f"touch {tmp_path}/ran")
    (trip.folder / "adder.py").write_text("better\n")
    (user / ".gitattributes").write_text("* merge=evil\n")
    _move(user, "adder.py", "theirs ")
    assert _merge(trip).conflicts == ("adder.py",)
    assert not (tmp_path / "ran").exists()


def test_without_a_branch_nothing_can_have_moved(trip: Trip) -> None:
    base = type(trip.base)(commit=trip.base.commit, branch="")
    assert trip.mirrors.merge(trip.repository, base=base, tip=base.commit).sentence == ""


@pytest.mark.parametrize(("count", "words"), [(1, "1 commit"), (1_200, "1,200 commits")])
def test_a_sentence_says_how_many(count: int, words: str) -> None:
    assert Merge(onto="main", moved_by=count).sentence == f"main moved by {words}; merges cleanly"
    assert "could not be tried" in Merge(onto="main", moved_by=count, is_tried=False).sentence
    many = Merge(onto="main", moved_by=count, conflicts=tuple("abcde"))
    assert "conflicts in a, b, c and 2 more" in many.sentence
