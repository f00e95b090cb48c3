"""Files that git ignores and tests need: which are copied, which never, and that none of them comes home."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from tests.workspaces.repos import Trip

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces.project import include as under_test
from crewcap.workspaces.project.include import copy_included, values_in
from crewcap.workspaces.repository.review import Returned

SECRET = "sk_test_fake_51HqLyjWDarjtT1zdp7dc"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A user's working folder."""
    folder = tmp_path / "theirs"
    (folder / "config" / "deep").mkdir(parents=True)
    (folder / "node_modules" / "x").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name in (
        "a.local",
        "b.local",
        "config/test.env",
        "config/deep/c.local",
        "node_modules/x/d.local",
        ".git/e.local",
    ):
        (folder / name).write_text(f"# {name}\n")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A run's clone."""
    folder = tmp_path / "workspace"
    subprocess.run(["git", "init", "--quiet", "--template=", folder], check=True)
    return folder


def _files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts
    )


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("config/test.env", ["config/test.env"]),
        ("./config//test.env", ["config/test.env"]),
        ("*.local", ["a.local", "b.local"]),
        ("[!a]*.local", ["b.local"]),
        ("?.local", ["a.local", "b.local"]),
        ("config/*", ["config/deep/c.local", "config/test.env"]),
        ("config/", ["config/deep/c.local", "config/test.env"]),
        ("config", ["config/deep/c.local", "config/test.env"]),
        ("**/*.local", ["a.local", "b.local", "config/deep/c.local"]),
        ("config/**/*.local", ["config/deep/c.local"]),
        ("node_modules/x/d.local", ["node_modules/x/d.local"]),
        ("*/deep/*", ["config/deep/c.local"]),
        ("nothing/*.like.this", []),
    ],
)
def test_a_pattern_names_what_it_says(source: Path, workspace: Path, pattern: str, names: list[str]) -> None:
    """`*` stays inside a folder, `**` crosses them, a folder stands for all that is in it."""
    included = copy_included([pattern], source=source, workspace=workspace, uid=None)
    assert _files(workspace) == sorted(included.names) == names
    if not names:
        assert included.said == (f"include: {pattern}: no such file in your working folder",)


def test_what_was_copied_is_said_with_who_can_read_it(source: Path, workspace: Path) -> None:
    included = copy_included(["a.local", "config/test.env"], source=source, workspace=workspace, uid=None)
    assert included.said == ("include: a.local, config/test.env: the agent can read these",)


def test_a_repository_elsewhere_has_nothing_to_copy(workspace: Path) -> None:
    included = copy_included(["a.local"], source=None, workspace=workspace, uid=None)
    assert included.said == ("include: a.local: the repository is not on this machine, nothing to copy",)
    assert copy_included([], source=None, workspace=workspace, uid=None).said == ()


def test_a_mode_is_kept_without_what_gives_rights(source: Path, workspace: Path) -> None:
    (source / "a.local").chmod(0o4750)
    copy_included(["a.local"], source=source, workspace=workspace, uid=None)
    assert stat.S_IMODE((workspace / "a.local").stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_they_belong_to_the_runs_user(source: Path, workspace: Path) -> None:
    copy_included(["config/test.env"], source=source, workspace=workspace, uid=61_000)
    assert [(workspace / name).stat().st_uid for name in ("config", "config/test.env")] == [61_000, 61_000]


class TestHostile:
    """A pattern may come from the repository's own file, and so may every name that it meets."""

    @pytest.mark.parametrize("pattern", ["../secret", "/etc/passwd", "~/x", "a/../../b", ".git/config", "x/.GIT/y"])
    def test_a_pattern_may_not_lead_out(self, source: Path, workspace: Path, pattern: str) -> None:
        with pytest.raises(UnsafeEnvironment, match="leads out of the repository"):
            copy_included([pattern], source=source, workspace=workspace, uid=None)

    def test_a_link_is_not_followed_where_files_come_from(self, source: Path, workspace: Path, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "key").write_text(SECRET)
        (source / "file").symlink_to(tmp_path / "outside" / "key")
        (source / "folder").symlink_to(tmp_path / "outside")
        patterns = ["file", "folder", "folder/key", "folder/*", "**/key", "f*"]
        included = copy_included(patterns, source=source, workspace=workspace, uid=None)
        assert included.names == ()
        assert _files(workspace) == []
        assert "include: file, folder" in included.said[0]
        assert "only plain files" in included.said[0]

    def test_a_link_is_not_followed_where_files_go(self, source: Path, workspace: Path, tmp_path: Path) -> None:
        """A tracked link in the workspace would lead a copy anywhere."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (workspace / "config").symlink_to(outside)
        (workspace / "a.local").symlink_to(tmp_path / "made")
        included = copy_included(["config/", "a.local"], source=source, workspace=workspace, uid=None)
        assert included.names == ()
        assert list(outside.iterdir()) == []
        assert not (tmp_path / "made").exists()

    def test_a_pipe_and_a_socket_are_no_files(self, source: Path, workspace: Path) -> None:
        """Opening one would wait for ever."""
        os.mkfifo(source / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            at = Path.cwd()
            os.chdir(source)  # an address has 107 letters at most
            try:
                listener.bind("door")
            finally:
                os.chdir(at)
            included = copy_included(["pipe", "door"], source=source, workspace=workspace, uid=None)
        assert included.names == ()
        assert "pipe, door: not copied" in included.said[0]

    def test_what_is_tracked_stays_as_it_is(self, source: Path, workspace: Path) -> None:
        (workspace / "a.local").write_text("the repository's own\n")
        included = copy_included(["*.local"], source=source, workspace=workspace, uid=None)
        assert included.names == ("b.local",)
        assert (workspace / "a.local").read_text() == "the repository's own\n"

    def test_too_many_files_are_refused(self, source: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_test, "MOST_FILES", 1)
        with pytest.raises(UnsafeEnvironment, match="more than 1 files or 64 MB"):
            copy_included(["*.local"], source=source, workspace=workspace, uid=None)

    def test_too_many_bytes_are_refused_also_where_a_file_says_that_it_has_none(
        self, source: Path, workspace: Path
    ) -> None:
        with (source / "big.local").open("wb") as file:
            file.truncate(under_test.MOST_BYTES + 1)
        with pytest.raises(UnsafeEnvironment, match="would be copied into the workspace"):
            copy_included(["*.local"], source=source, workspace=workspace, uid=None)

    def test_a_search_has_an_end(self, source: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_test, "_MOST_LOOKED_AT", 5)
        with pytest.raises(UnsafeEnvironment, match="names had to be looked at"):
            copy_included(["**/*.none"], source=source, workspace=workspace, uid=None)

    def test_a_folder_that_becomes_a_link_in_between_lets_nothing_out(
        self, source: Path, workspace: Path, tmp_path: Path
    ) -> None:
        """Swapped as fast as it goes, while it is copied 300 times."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "test.env").write_text(SECRET)
        over = threading.Event()

        def swap() -> None:
            while not over.is_set():
                (source / "config").rename(source / "aside")
                (source / "config").symlink_to(outside)
                (source / "config").unlink()
                (source / "aside").rename(source / "config")

        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            for _ in range(300):
                copy_included(["config/test.env"], source=source, workspace=workspace, uid=None)
                (workspace / "config" / "test.env").unlink(missing_ok=True)
                assert SECRET not in "".join(path.read_text() for path in (workspace / "config").glob("*"))
        finally:
            over.set()
            swapping.join()


class TestComingHome:
    """None of them may end up in a commit."""

    @pytest.mark.parametrize(
        "name",
        ["plain.env", "with space.env", "[odd]*?.env", "!not.env", "#hash.env", "back\\slash", "ü.env", "a\nb", "a\r"],
    )
    def test_git_does_not_see_them(self, source: Path, workspace: Path, name: str) -> None:
        (source / "given").mkdir()
        (source / "given" / name).write_text("x\n")
        included = copy_included(["given/"], source=source, workspace=workspace, uid=None)
        assert included.names == (f"given/{name}",)
        (workspace / "work.txt").touch()
        said = subprocess.run(["git", "-C", workspace, "status", "--porcelain"], check=True, capture_output=True)
        assert said.stdout == b"?? work.txt\n"

    def test_what_the_clone_ignored_before_stays_ignored(self, source: Path, workspace: Path) -> None:
        (workspace / ".git" / "info").mkdir()
        (workspace / ".git" / "info" / "exclude").write_text("*.tmp")  # without an end of line
        copy_included(["a.local"], source=source, workspace=workspace, uid=None)
        (workspace / "x.tmp").touch()
        said = subprocess.run(["git", "-C", workspace, "status", "--porcelain"], check=True, capture_output=True)
        assert said.stdout == b""

    @pytest.mark.parametrize("damage", ["rm -f .git/info/exclude", "rm -f .git/HEAD", "git config core.excludesFile x"])
    def test_they_stay_out_whatever_an_agent_did_to_the_lists(self, trip: Trip, source: Path, damage: str) -> None:
        """Also where its repository is broken, and its files are taken from beside."""
        included = copy_included(["*.local", "config/"], source=source, workspace=trip.folder, uid=None)
        (trip.folder / "work.txt").write_text("done\n")
        subprocess.run(["sh", "-c", damage], cwd=trip.folder, check=True)
        assert isinstance(trip.receive(trip.harvest(without=included.names).bundle), Returned)
        changed = trip.mirror_git("diff", "--name-only", trip.base.commit, trip.branch)
        assert changed == "work.txt"


class TestValues:
    """They often hold secrets, and ordinary words beside them."""

    ENV = f"""
# of the shop
NODE_ENV=development
PORT=3000
export STRIPE_KEY="{SECRET}"
DATABASE_URL=postgres://shop:pa55-word-9@127.0.0.1:5432/shop
CACHE_URL=redis://127.0.0.1:6379
DEBUG=true
LOG_PATH=/var/log/shop/test.log
FEATURES=one,two
SESSION_SALT='f81d4fae7dec'
token: 8Jk2-99aa
PASSWORD=postgres
"""

    def test_what_looks_like_a_secret_is_known_to_the_filter(self, source: Path, workspace: Path) -> None:
        (source / "a.local").write_text(self.ENV)
        found = copy_included(["a.local"], source=source, workspace=workspace, uid=None).values
        assert set(found.values()) == {
            SECRET,
            "pa55-word-9",
            "postgres://shop:pa55-word-9@127.0.0.1:5432/shop",
            "f81d4fae7dec",
            "8Jk2-99aa",
        }
        assert "STRIPE_KEY of a.local" in found
        assert found == values_in(("a.local",), source=source)

    def test_ordinary_words_are_not_taken_out_of_every_text(self, source: Path, workspace: Path) -> None:
        (source / "a.local").write_text(self.ENV)
        found = copy_included(["a.local"], source=source, workspace=workspace, uid=None).values
        assert not {"development", "postgres", "one,two", "/var/log/shop/test.log"} & set(found.values())

    def test_a_file_that_is_no_text_has_none(self, source: Path, workspace: Path) -> None:
        (source / "a.local").write_bytes(b"KEY=\0" + SECRET.encode())
        assert copy_included(["a.local"], source=source, workspace=workspace, uid=None).values == {}

    def test_nothing_prints_them(self, source: Path, workspace: Path) -> None:
        (source / "a.local").write_text(self.ENV)
        assert SECRET not in repr(copy_included(["a.local"], source=source, workspace=workspace, uid=None))

    def test_a_folder_that_is_gone_has_none(self, tmp_path: Path) -> None:
        assert values_in(("a.local",), source=tmp_path / "gone") == {}
