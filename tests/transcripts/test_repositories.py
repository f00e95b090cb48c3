"""Which repository a folder belongs to, without running git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crewcap.transcripts.repositories import Repositories


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.invalid")
    subprocess.run(("git", *identity, *words), cwd=folder, check=True, capture_output=True)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "start")
    return folder


def test_a_folder_inside_is_its_repository_and_one_outside_is_itself(shop: Path, tmp_path: Path) -> None:
    (shop / "src" / "deep").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    found = Repositories()
    assert found.of(str(shop / "src" / "deep")) == str(shop)
    assert found.of(str(tmp_path / "plain")) == str(tmp_path / "plain")
    assert found.of("") == ""


def test_a_worktree_counts_for_the_repository_that_it_is_of(shop: Path, tmp_path: Path) -> None:
    git(shop, "worktree", "add", "--quiet", str(tmp_path / "elsewhere" / "fix"))
    git(shop, "worktree", "add", "--quiet", str(shop / ".claude" / "worktrees" / "agent-1"))
    found = Repositories()
    assert (
        found.of(str(tmp_path / "elsewhere" / "fix")) == found.of(str(shop / ".claude/worktrees/agent-1")) == str(shop)
    )


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:acme/shop.git", "https://github.com/acme/shop", "ssh://git@git.acme.example:2222/acme/shop.git",
        "https://user:secret@github.com/acme/shop.git",
    ],
)  # fmt: skip
def test_a_remote_gives_the_name_that_people_say_and_no_secret(shop: Path, url: str) -> None:
    git(shop, "remote", "add", "origin", url)
    assert Repositories().of(str(shop)) == "acme/shop"


@pytest.mark.parametrize("url", ["../other.git", "/srv/git/shop.git", "file:///srv/git/shop.git"])
def test_a_remote_on_this_machine_gives_no_name(shop: Path, url: str) -> None:
    git(shop, "remote", "add", "origin", url)
    assert Repositories().of(str(shop)) == str(shop)


@pytest.mark.parametrize(
    ("folder", "repo"),
    [
        ("/gone/shop/.claude/worktrees/agent-1/src", "/gone/shop"),
        ("/gone/shop/.worktrees/fix", "/gone/shop"),
        ("/gone/shop-worktrees/fix", "/gone/shop"),
        ("/gone/conductor/workspaces/shop/lisbon", "shop"),
        ("/gone/.cyrus/workspaces/shop/ENG-1", "shop"),
        ("/gone/.codex/worktrees/ab12/shop", "shop"),
        ("/gone/shop", "/gone/shop"),
    ],
)
def test_a_worktree_that_is_gone_is_known_by_the_habits_of_tools(folder: str, repo: str) -> None:
    assert Repositories().of(folder) == repo


@pytest.mark.parametrize("content", ["", "gitdir: /nowhere\n", "nonsense", "gitdir: \0\n", "gitdir: ..\n"])
def test_a_git_file_that_leads_nowhere_does_not_stop_it(tmp_path: Path, content: str) -> None:
    (tmp_path / ".git").write_text(content)
    assert isinstance(Repositories().of(str(tmp_path)), str)


def test_a_folder_that_cannot_be_is_its_own_name() -> None:
    for folder in ("\0", "/" + "x" * 9_000, "no/such/folder", "C:\\Users\\ana\\shop", "\ud83d"):
        assert Repositories().of(folder) == folder
