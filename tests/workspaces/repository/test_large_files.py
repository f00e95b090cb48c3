"""Large files: real ones inside, pointers in every commit, and what the agent made of them comes home."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from tests.workspaces.outside import AUTHORITY, rogue, site
from tests.workspaces.repos import Said, Trip, git, make_repository, set_out

from crewcap.workspaces.repository.large_files import POINTER, LargeFile, read_pointer
from crewcap.workspaces.repository.large_home import bring_large
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import NoChange, Returned
from crewcap.workspaces.repository.supplies import Extent

PICTURE = bytes(range(256)) * 400
OID = hashlib.sha256(PICTURE).hexdigest()
NEW = b"new" * 100_000
LARGE = LargeFile(oid=hashlib.sha256(NEW).hexdigest(), size=len(NEW))


def pointer(content: bytes) -> str:
    """What a commit holds in its place."""
    return f"{POINTER}\noid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"


def _store(git_dir: Path, content: bytes) -> Path:
    oid = hashlib.sha256(content).hexdigest()
    place = git_dir / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    return place


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A repository with one large file, whose content its clone has."""
    folder = make_repository(tmp_path / "shop")
    (folder / ".gitattributes").write_text("*.png filter=lfs diff=lfs merge=lfs -text\n")
    (folder / "art").mkdir()
    (folder / "art" / "a b.png").write_text(pointer(PICTURE))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "a picture")
    _store(folder / ".git", PICTURE)
    return folder


@pytest.fixture
def trip(mirrors: Mirrors, user: Path, tmp_path: Path) -> Trip:
    """A run that has its large files."""
    return set_out(mirrors, user, tmp_path / "w", extent=Extent())


class TestPointers:
    """Three lines, and nothing else is one."""

    def test_a_pointer_is_read(self) -> None:
        assert read_pointer(pointer(b"x").encode()) == LargeFile(oid=hashlib.sha256(b"x").hexdigest(), size=1)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"x" * 130,
            pointer(b"x").encode() + b"more\n",
            pointer(b"x").replace("sha256:", "sha256:../").encode(),
            pointer(b"x").replace("size 1", "size -1").encode(),
            pointer(b"x").encode() * 20,
        ],
    )
    def test_anything_else_is_a_file(self, content: bytes) -> None:
        assert read_pointer(content) is None


class TestInside:
    """Git sees pointers where people see files."""

    def test_files_are_real_and_the_tree_is_clean(self, trip: Trip) -> None:
        assert (trip.folder / "art/a b.png").read_bytes() == PICTURE
        assert trip.supply.said == ()
        assert git(trip.folder, "status", "--porcelain") == ""
        os.utime(trip.folder / "art/a b.png")
        assert git(trip.folder, "status", "--porcelain") == ""
        assert git(trip.folder, "diff") == ""

    def test_everyday_git_works(self, trip: Trip) -> None:
        picture = trip.folder / "art/a b.png"
        picture.write_bytes(b"new" * 1_000)
        git(trip.folder, "stash", "--quiet")
        assert picture.read_bytes() == PICTURE
        git(trip.folder, "stash", "pop", "--quiet")
        assert picture.read_bytes() == b"new" * 1_000
        git(trip.folder, "commit", "--quiet", "-am", "a new one")
        git(trip.folder, "checkout", "--quiet", "HEAD~1")
        assert picture.read_bytes() == PICTURE
        assert git(trip.folder, "cat-file", "-s", f"{trip.branch}:art/a b.png") == str(len(pointer(b"new" * 1_000)))

    def test_the_store_is_shown_beside_the_objects(self, trip: Trip) -> None:
        (mount,) = trip.supply.fittings(objects_inside="/base/objects").mounts
        assert (mount.target.startswith("/base/more/"), mount.writable) == (True, False)
        files = [path for path in mount.source.rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in files] == [PICTURE]
        assert files[0].stat().st_mode & 0o777 == 0o444


class TestWhereTheyComeFrom:
    """The user's own clone; else git-lfs; else it is said."""

    def test_what_nobody_has_stays_a_pointer_and_is_no_change(
        self, mirrors: Mirrors, user: Path, tmp_path: Path
    ) -> None:
        shutil.rmtree(user / ".git/lfs")
        trip = set_out(mirrors, user, tmp_path / "w", extent=Extent())
        assert trip.supply.said[0].startswith("1 large file is a pointer inside, 0.1 MB were not to be had")
        assert (trip.folder / "art/a b.png").read_text() == pointer(PICTURE)
        assert git(trip.folder, "status", "--porcelain") == ""
        assert trip.come_home() == NoChange()

    def test_a_damaged_one_is_not_taken(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        for path in (user / ".git/lfs").rglob("*"):
            if path.is_file():
                path.write_bytes(b"y" * len(PICTURE))
        assert "is a pointer" in set_out(mirrors, user, tmp_path / "w", extent=Extent()).supply.said[0]

    def test_a_second_run_needs_the_clones_no_more(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        set_out(mirrors, user, tmp_path / "w1", extent=Extent())
        shutil.rmtree(user / ".git/lfs")
        assert set_out(mirrors, user, tmp_path / "w2", extent=Extent()).supply.said == ()

    def test_without_the_setting_they_are_pointers(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        trip = set_out(mirrors, user, tmp_path / "w", extent=Extent(lfs=False))
        assert (trip.supply.large, trip.supply.said) == (None, ())
        assert (trip.folder / "art/a b.png").read_text() == pointer(PICTURE)

    def test_those_outside_of_the_named_folders_are_not_asked_for(
        self, mirrors: Mirrors, user: Path, tmp_path: Path
    ) -> None:
        (user / "docs").mkdir()
        (user / "docs" / "x").write_text("x")
        git(user, "add", ".")
        git(user, "commit", "--quiet", "-m", "docs")
        shutil.rmtree(user / ".git/lfs")
        trip = set_out(mirrors, user, tmp_path / "w", extent=Extent(paths=("docs",)))
        assert trip.supply.said == ()

    @pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
    def test_git_lfs_fetches_what_the_clone_has_not(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        git(tmp_path, "clone", "--quiet", "--bare", str(user), "origin.git")
        (user / ".git/lfs").rename(tmp_path / "origin.git/lfs")
        git(user, "remote", "add", "origin", f"file://{tmp_path}/origin.git")
        trip = set_out(mirrors, user, tmp_path / "w", extent=Extent())
        assert trip.supply.said == ()
        assert (trip.folder / "art/a b.png").read_bytes() == PICTURE

    @pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
    def test_over_https_it_asks_the_server_that_the_clone_came_from_and_nobody_else(
        self, user: Path, tmp_path: Path
    ) -> None:
        """A `.lfsconfig` of the commit names another one, which gets neither a question nor a credential."""
        shutil.rmtree(user / ".git/lfs")
        pages: dict[str, tuple[str, bytes]] = {f"/objects/{OID}": ("application/octet-stream", PICTURE)}
        authority = tmp_path / "authority.pem"
        authority.write_bytes(AUTHORITY.certificate)
        with site("localhost", pages) as server, rogue() as stranger:
            (user / ".lfsconfig").write_text(f"[lfs]\n\turl = http://127.0.0.1:{stranger.port}/lfs\n")
            git(user, "add", ".")
            git(user, "commit", "--quiet", "-m", "elsewhere")
            url = f"https://localhost:{server.port}"
            pages["/shop.git/info/lfs/objects/batch"] = ("application/vnd.git-lfs+json", _batch(f"{url}/objects/{OID}"))
            git(user, "remote", "add", "origin", f"{url}/shop.git")
            mirrors = Mirrors(tmp_path / "mirrors", environ={**os.environ, "GIT_SSL_CAINFO": str(authority)})
            trip = set_out(mirrors, user, tmp_path / "w", extent=Extent())
        assert trip.supply.said == ()
        assert (trip.folder / "art/a b.png").read_bytes() == PICTURE
        assert [asked.path for asked in server.asked] == ["/shop.git/info/lfs/objects/batch", f"/objects/{OID}"]
        assert stranger.connections == 0


def _batch(place: str) -> bytes:
    """A server's answer to who asks for the picture."""
    found = {"oid": OID, "size": len(PICTURE), "actions": {"download": {"href": place}}}
    return json.dumps({"transfer": "basic", "objects": [found]}).encode()


class TestComingHome:
    """A commit never gets a large content; the content comes along beside it."""

    @pytest.mark.parametrize("broken", ["", ".git", ".git/config", ".git/HEAD"])
    def test_a_changed_one_is_a_pointer_in_the_branch(self, trip: Trip, broken: str) -> None:
        (trip.folder / "art/a b.png").write_bytes(NEW)
        (trip.folder / "art/second.png").write_bytes(PICTURE)
        if broken:
            place = trip.folder / broken
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        bundle = trip.harvest().bundle
        assert len(bundle) < 5_000
        came = trip.receive(bundle)
        assert isinstance(came, Returned)
        assert trip.mirror_git("cat-file", "blob", f"{came.commit}:art/a b.png") == pointer(NEW).strip()
        assert trip.mirror_git("cat-file", "blob", f"{came.commit}:art/second.png") == pointer(PICTURE).strip()
        self._comes_along(trip, came.commit)
        theirs = trip.repository.git_dir
        assert theirs is not None
        trip.mirrors.publish(trip.repository, trip.branch, base=trip.base.commit)
        assert (theirs / "lfs/objects" / LARGE.place).read_bytes() == NEW

    def _comes_along(self, trip: Trip, tip: str) -> None:
        """The one that nobody here has is asked for, and only that one."""
        wanted = trip.mirrors.missing_large(trip.repository, base=trip.base.commit, tip=tip)
        assert wanted == (("art/a b.png", LARGE),)
        keep = partial(trip.mirrors.keep_large, trip.repository)
        assert asyncio.run(bring_large(trip.perform, wanted, keep=keep)) == ()
        assert trip.mirrors.missing_large(trip.repository, base=trip.base.commit, tip=tip) == ()

    def test_a_pointer_to_nothing_and_one_that_lies_are_said(self, trip: Trip) -> None:
        """An agent may write any pointer; only its own content is ever let in under its name."""
        (trip.folder / "art/a b.png").write_text(pointer(b"not here"))
        came = trip.come_home()
        assert isinstance(came, Returned)
        wanted = trip.mirrors.missing_large(trip.repository, base=trip.base.commit, tip=came.commit)

        async def perform(argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
            del argv, environ
            return Said(0, b"something else")

        said = asyncio.run(bring_large(perform, wanted, keep=partial(trip.mirrors.keep_large, trip.repository)))
        assert said == ("art/a b.png is a pointer to a large file that nobody has",)
