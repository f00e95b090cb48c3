"""A workspace of a part of a repository: the folders that were named, and what lies on the way to them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.workspaces.repos import git, make_repository, set_out

from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Returned
from crewcap.workspaces.repository.supplies import Extent

SHOP = Extent(paths=("services/shop",))


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """Two services, something shared, and files on the way."""
    folder = make_repository(tmp_path / "mono")
    for path in ("services/shop/a/cart.py", "services/bank/vault.py", "services/README", "shared/x.py", "shop/y.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{path}\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "services")
    return folder


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts}


def _changed(came: object) -> tuple[int, int, int]:
    assert isinstance(came, Returned), came
    return came.files_changed, came.lines_added, came.lines_removed


def test_only_the_folders_that_were_named_are_there(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    trip = set_out(mirrors, user, tmp_path / "w", extent=SHOP)
    assert _files(trip.folder) == {"adder.py", "README", "services/README", "services/shop/a/cart.py"}
    assert trip.supply.files == 4
    assert git(trip.folder, "status", "--porcelain") == ""


def test_work_outside_of_them_comes_home_too(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    """New files and changed ones, wherever the agent put them; what it was not given is not deleted."""
    trip = set_out(mirrors, user, tmp_path / "w", extent=SHOP)
    (trip.folder / "shared").mkdir()
    (trip.folder / "shared" / "new.py").write_text("new\n")
    (trip.folder / "services/shop/a/cart.py").write_text("better\n")
    assert _changed(trip.come_home()) == (2, 2, 1)


def test_a_file_that_was_written_over_unseen_is_a_change(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    trip = set_out(mirrors, user, tmp_path / "w", extent=SHOP)
    (trip.folder / "shared").mkdir()
    (trip.folder / "shared" / "x.py").write_text("over\n")
    assert _changed(trip.come_home()) == (1, 1, 1)


@pytest.mark.parametrize(
    "broken", [".git", ".git/HEAD", ".git/index", ".git/info/sparse-checkout", ".git/config.worktree"]
)
def test_what_was_not_laid_out_is_never_taken_for_deleted(
    mirrors: Mirrors, user: Path, tmp_path: Path, broken: str
) -> None:
    """Whatever becomes of the workspace's own repository."""
    trip = set_out(mirrors, user, tmp_path / "w", extent=SHOP)
    (trip.folder / "services/shop/a/cart.py").write_text("better\n")
    place = trip.folder / broken
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert _changed(trip.come_home()) == (1, 1, 1)


def test_git_works_inside_of_it(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    trip = set_out(mirrors, user, tmp_path / "w", extent=SHOP)
    cart = trip.folder / "services/shop/a/cart.py"
    cart.write_text("one\n")
    git(trip.folder, "stash", "--quiet")
    git(trip.folder, "stash", "pop", "--quiet")
    git(trip.folder, "commit", "--quiet", "-am", "one")
    cart.write_text("two\n")
    git(trip.folder, "commit", "--quiet", "-am", "two")
    git(trip.folder, "rebase", "--quiet", "--force-rebase", "HEAD~1")
    assert git(trip.folder, "diff", "--name-only", "origin/main") == "services/shop/a/cart.py"
    assert _changed(trip.come_home()) == (1, 1, 1)


def test_a_folder_that_is_not_there_is_said(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    trip = set_out(mirrors, user, tmp_path / "w", extent=Extent(paths=("services/shop", "nowhere")))
    assert trip.supply.said == (f"paths names nowhere, which {trip.base.commit[:8]} does not have",)
