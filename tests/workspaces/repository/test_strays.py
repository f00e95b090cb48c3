"""What git passes over without a word is named; what the project ignores is not."""

from __future__ import annotations

import os

from tests.workspaces.repos import Trip, git

from crewcap.workspaces.repository.strays import Strays


def test_a_fresh_workspace_has_none(trip: Trip) -> None:
    assert trip.harvest().strays == Strays()


def test_a_repository_inside_and_a_pipe_are_named_and_the_rest_comes_home(trip: Trip) -> None:
    for name in ("sub", "built/sub", "sub/deeper"):
        (trip.folder / name).mkdir(parents=True)
        git(trip.folder / name, "init", "--quiet")
        (trip.folder / name / "work.py").touch()
    (trip.folder / ".gitignore").write_text("built/\n")
    os.mkfifo(trip.folder / "a pipe")
    os.mkfifo(trip.folder / "built/pipe")
    harvest = trip.harvest()
    assert harvest.strays == Strays(repositories=("sub",), specials=("a pipe",))
    assert harvest.bundle


def test_one_with_commits_is_named_too(trip: Trip) -> None:
    (trip.folder / "sub").mkdir()
    git(trip.folder / "sub", "init", "--quiet")
    git(trip.folder / "sub", "commit", "--quiet", "--allow-empty", "-m", "work")
    assert trip.harvest().strays.repositories == ("sub",)


def test_a_broken_repository_does_not_hide_them(trip: Trip) -> None:
    os.mkfifo(trip.folder / "pipe")
    (trip.folder / ".git/HEAD").write_text("broken")
    harvest = trip.harvest()
    assert (harvest.salvaged, harvest.strays.specials) == (True, ("pipe",))


def test_one_that_the_project_ignores_is_not_named_whatever_its_name(trip: Trip) -> None:
    (trip.folder / ".gitignore").write_text("built*/\n")
    for folder in ("built\nhere", 'built "there"', "new\nhere"):
        (trip.folder / folder).mkdir()
        os.mkfifo(trip.folder / folder / "pipe")
    assert trip.harvest().strays.specials == ("new\nhere/pipe",)
