"""Clones that have not everything: a run starts from them all the same, and its work comes back to them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.workspaces.repos import Trip, git, make_repository, set_out

from crewcap.errors import CrewcapError, UsageError
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Returned


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with five commits."""
    folder = make_repository(tmp_path / "origin")
    for number in range(4):
        (folder / "README").write_text(f"{number}\n")
        git(folder, "commit", "--quiet", "-am", f"change {number}")
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return folder


def _clone(origin: Path, *words: str) -> Path:
    git(origin.parent, "clone", "--quiet", *words, f"file://{origin}", "shop")
    return origin.parent / "shop"


def _there_and_back(trip: Trip) -> Returned:
    (trip.folder / "new").write_text("x\n")
    came = trip.come_home()
    assert isinstance(came, Returned), came
    assert (came.commits, came.files_changed, came.rewrote_history) == (1, 1, False)
    assert trip.mirrors.publish(trip.repository, trip.branch).reason == ""
    return came


class TestAShallowClone:
    """Its history ends where the clone's does; git inside says no more and no less."""

    def test_there_and_back(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--depth=2")
        trip = set_out(mirrors, user, tmp_path / "w")
        assert git(trip.folder, "log", "--format=%s").splitlines() == ["change 3", "change 2"]
        assert git(trip.folder, "fsck", "--connectivity-only", "HEAD") == ""
        came = _there_and_back(trip)
        assert git(user, "log", "--format=%H", "-1", trip.branch) == came.commit
        assert len(git(user, "log", "--format=%H", trip.branch).splitlines()) == 3

    def test_its_history_grows_with_the_clones(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--depth=2")
        first = set_out(mirrors, user, tmp_path / "w1")
        git(user, "fetch", "--quiet", "--unshallow")
        git(user, "commit", "--quiet", "--allow-empty", "-m", "later")
        second = set_out(mirrors, user, tmp_path / "w2")
        assert len(git(second.folder, "log", "--format=%H").splitlines()) == 6
        _there_and_back(first)

    def test_commits_on_top_of_it_are_brought(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--depth=1")
        set_out(mirrors, user, tmp_path / "w1")
        git(user, "commit", "--quiet", "--allow-empty", "-m", "later")
        trip = set_out(mirrors, user, tmp_path / "w2")
        assert git(trip.folder, "log", "--format=%s").splitlines() == ["later", "change 3"]
        _there_and_back(trip)

    def test_history_can_be_rewritten_in_it_too(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        trip = set_out(mirrors, _clone(origin, "--depth=1"), tmp_path / "w")
        (trip.folder / "new").write_text("x\n")
        git(trip.folder, "add", ".")
        git(trip.folder, "commit", "--quiet", "--amend", "-m", "I was first")
        came = trip.come_home()
        assert isinstance(came, Returned)
        assert (came.commits, came.files_changed, came.rewrote_history) == (1, 1, True)


class TestAPartialClone:
    """What it left at its remote is fetched from there, once, before the agent."""

    @pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
    def test_there_and_back(self, mirrors: Mirrors, origin: Path, tmp_path: Path, kind: str) -> None:
        user = _clone(origin, f"--filter={kind}")
        trip = set_out(mirrors, user, tmp_path / "w")
        assert len(git(trip.folder, "log", "-p", "--format=%s", "README").splitlines()) > 10
        _there_and_back(trip)

    def test_commits_that_only_the_clone_has_are_brought(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--filter=blob:none")
        (user / "mine").write_text("not pushed\n")
        git(user, "add", ".")
        git(user, "commit", "--quiet", "-m", "mine")
        trip = set_out(mirrors, user, tmp_path / "w")
        assert (trip.folder / "mine").read_text() == "not pushed\n"
        assert git(trip.folder, "fsck", "--connectivity-only", "HEAD") == ""
        _there_and_back(trip)

    def test_a_second_run_asks_no_remote(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--filter=blob:none")
        set_out(mirrors, user, tmp_path / "w1")
        shutil.rmtree(origin)
        _there_and_back(set_out(mirrors, user, tmp_path / "w2"))

    def test_a_remote_that_is_gone_is_said(self, mirrors: Mirrors, origin: Path, tmp_path: Path) -> None:
        user = _clone(origin, "--filter=blob:none")
        shutil.rmtree(origin)
        with pytest.raises(CrewcapError, match=r"shop cannot be read: git fetch: .*does not appear to be a git"):
            set_out(mirrors, user, tmp_path / "w")

    def test_a_remote_that_is_not_fetched_from_is_said_with_the_way_round(
        self, mirrors: Mirrors, origin: Path, tmp_path: Path
    ) -> None:
        user = _clone(origin, "--filter=blob:none")
        git(user, "remote", "set-url", "origin", "ext::sh -c true")
        with pytest.raises(UsageError) as refused:
            set_out(mirrors, user, tmp_path / "w")
        assert "'origin'" in refused.value.message
        assert refused.value.help == "clone it without --filter"
