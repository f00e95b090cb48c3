"""Submodules: what a commit may ask for, and what a workspace is given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.workspaces.repos import add_submodule, git, make_repository, set_out

from crewcap.errors import UsageError
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Flag, Returned
from crewcap.workspaces.repository.submodules import MOST, address, read_declarations
from crewcap.workspaces.repository.supplies import Extent

COMMIT = "1" * 40


def _listing(**values: str) -> bytes:
    """As git lists a `.gitmodules` with one submodule named lib."""
    return b"".join(f"submodule.lib.{key}\n{value}".encode() + b"\0" for key, value in values.items())


class TestAddresses:
    """Only what we would fetch from, and never above the host that the repository is on."""

    @pytest.mark.parametrize(
        ("url", "parent", "expected"),
        [
            ("https://h.invalid/a/lib.git", "https://h.invalid/b/x", "https://h.invalid/a/lib.git"),
            ("git@h.invalid:a/lib.git", "https://h.invalid/b/x", "git@h.invalid:a/lib.git"),
            ("../lib.git", "https://h.invalid/acme/shop.git", "https://h.invalid/acme/lib.git"),
            ("../../other/lib", "https://h.invalid/acme/shop", "https://h.invalid/other/lib"),
            ("../lib", "git@h.invalid:acme/shop.git", "git@h.invalid:acme/lib"),
            ("../lib", "git@h.invalid:shop.git", "git@h.invalid:lib"),
            ("./lib", "ssh://git@h.invalid/acme/shop", "ssh://git@h.invalid/acme/shop/lib"),
            ("../lib", "/srv/git/shop", "/srv/git/lib"),
        ],
    )
    def test_an_address_is_made_whole(self, url: str, parent: str, expected: str) -> None:
        assert address(url, parent=parent) == expected

    @pytest.mark.parametrize(
        "url",
        [
            "/etc/secret.git",
            "file:///etc/secret.git",
            "ext::sh -c touch% /tmp/x",
            "fd::17",
            "git://h.invalid/lib",
            "http://h.invalid/lib",
            "https://token:x@h.invalid/lib",
            "https://-h/lib",
            "../../../evil.invalid/lib",
            "..",
            "lib",
            "",
        ],
    )
    def test_what_could_be_a_command_a_secret_or_our_own_disk_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError):
            address(url, parent="https://h.invalid/acme/shop.git")


class TestDeclarations:
    """What `.gitmodules` says is judged before anything is done with it."""

    def test_a_plain_one_is_taken(self) -> None:
        found = read_declarations(_listing(path="libs/a b", url="../lib"), links={"libs/a b": COMMIT})
        assert [(each.name, each.path, each.url) for each in found.modules] == [("lib", "libs/a b", "../lib")]
        assert found.said == ()

    @pytest.mark.parametrize(
        "path", ["../out", "/abs", "a/../b", ".git/x", "a/.GIT", "git~1", "-x", "a\nb", "a:b", "a//b"]
    )
    def test_a_path_that_is_not_plain_is_left_out_and_said(self, path: str) -> None:
        found = read_declarations(_listing(path=path, url="../lib"), links={path: COMMIT})
        assert found.modules == ()
        assert "is an empty folder inside" in found.said[0]
        assert found.said[0].isprintable()

    @pytest.mark.parametrize("url", ["-u./payload", "https://h.invalid/\nx", "", "\u202ehttps://x"])
    def test_an_address_that_is_none_is_said(self, url: str) -> None:
        found = read_declarations(_listing(path="lib", url=url), links={"lib": COMMIT})
        assert found.modules == ()
        assert len(found.said) == 1

    def test_a_name_that_leads_out_is_left_out(self) -> None:
        listing = _listing(path="lib", url="../lib").replace(b"submodule.lib.", b"submodule.../../x.")
        assert read_declarations(listing, links={"lib": COMMIT}).modules == ()

    def test_names_that_lie_in_each_other_would_share_a_repository(self) -> None:
        both = _listing(path="lib", url="../lib") + b"".join(
            (b"submodule.LIB/modules.path\nother\0", b"submodule.LIB/modules.url\n../other\0")
        )
        found = read_declarations(both, links={"lib": COMMIT, "other": COMMIT})
        assert [each.path for each in found.modules] == ["lib"]

    def test_a_command_for_updates_is_not_run_and_said(self) -> None:
        found = read_declarations(_listing(path="lib", url="../lib", update="!touch x"), links={"lib": COMMIT})
        assert len(found.modules) == 1
        assert "it was not run" in found.said[0]

    def test_a_link_without_a_word_in_gitmodules_is_said(self) -> None:
        assert "does not name it" in read_declarations(b"", links={"lib": COMMIT}).said[0]

    def test_there_is_a_bound(self) -> None:
        rows = (f"submodule.n{n}.path\nn{n}\0submodule.n{n}.url\n../n{n}\0" for n in range(MOST + 1))
        found = read_declarations("".join(rows).encode(), links={f"n{n}": COMMIT for n in range(MOST + 1)})
        assert len(found.modules) == MOST


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """shop, with libs/lib, which has its own deep/er."""
    inner = make_repository(tmp_path / "inner")
    lib = make_repository(tmp_path / "lib")
    add_submodule(lib, str(inner), "deep/er")
    shop = make_repository(tmp_path / "shop")
    add_submodule(shop, str(lib), "libs/lib", name="the lib")
    git(shop, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")
    return shop


class TestAWorkspace:
    """It has its submodules at the recorded commits, however deep, and git works in all of them."""

    def test_submodules_are_there_at_the_recorded_commits(self, mirrors: Mirrors, nested: Path, tmp_path: Path) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent())
        assert trip.supply.said == ()
        assert (trip.folder / "libs/lib/deep/er/adder.py").exists()
        lines = git(trip.folder, "submodule", "status", "--recursive").splitlines()
        assert [line.strip().split()[1] for line in lines] == ["libs/lib", "libs/lib/deep/er"]
        assert not any(line.startswith(("-", "+")) for line in lines)
        assert git(trip.folder, "status", "--porcelain") == ""
        assert git(trip.folder / "libs/lib", "log", "--format=%s") == "with deep/er\nfirst"

    def test_it_borrows_their_objects_at_places_that_a_sandbox_shows(
        self, mirrors: Mirrors, nested: Path, tmp_path: Path
    ) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", objects_inside="/base/objects", extent=Extent())
        mounts = trip.supply.fittings(objects_inside="/base/objects").mounts
        modules = tmp_path / "w/.git/modules/the lib"
        told = [modules / "objects/info/alternates", modules / "modules/deep/er/objects/info/alternates"]
        assert {path.read_text().strip() for path in told} == {mount.target for mount in mounts}
        assert all(mount.target.startswith("/base/more/") and not mount.writable for mount in mounts)
        assert all(mount.source.is_dir() for mount in mounts)

    def test_a_clone_of_the_users_own_is_fetched_from_first(
        self, mirrors: Mirrors, nested: Path, tmp_path: Path
    ) -> None:
        """So a private submodule needs no credential of ours."""
        shutil.rmtree(tmp_path / "lib")
        shutil.rmtree(tmp_path / "inner")
        assert set_out(mirrors, nested, tmp_path / "w", extent=Extent()).supply.said == ()

    def test_a_second_run_fetches_nothing(self, mirrors: Mirrors, nested: Path, tmp_path: Path) -> None:
        set_out(mirrors, nested, tmp_path / "w1", extent=Extent())
        for folder in (tmp_path / "lib", tmp_path / "inner", nested / ".git/modules"):
            shutil.rmtree(folder)
        trip = set_out(mirrors, nested, tmp_path / "w2", extent=Extent())
        assert trip.supply.said == ()
        assert (trip.folder / "libs/lib/deep/er/adder.py").exists()

    def test_what_cannot_be_had_is_an_empty_folder_and_said(
        self, mirrors: Mirrors, nested: Path, tmp_path: Path
    ) -> None:
        for folder in (tmp_path / "lib", nested / ".git/modules"):
            shutil.rmtree(folder)
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent())
        assert list((trip.folder / "libs/lib").iterdir()) == []
        assert len(trip.supply.said) == 1
        assert "the submodule libs/lib is an empty folder inside" in trip.supply.said[0]
        assert git(trip.folder, "status", "--porcelain") == ""

    def test_another_repository_of_this_machine_is_not_reached_by_a_path(
        self, mirrors: Mirrors, user: Path, tmp_path: Path
    ) -> None:
        """A repository from anywhere could otherwise read those of its user through an agent."""
        secret = make_repository(tmp_path / "secret")
        add_submodule(user, str(secret), "lib")
        shutil.rmtree(user / ".git/modules")
        git(user, "config", "--remove-section", "submodule.lib")
        git(user, "remote", "add", "origin", "https://example.invalid/acme/shop.git")
        trip = set_out(mirrors, user, tmp_path / "w", extent=Extent())
        assert list((trip.folder / "lib").iterdir()) == []
        assert "is no address that crewcap fetches from" in trip.supply.said[0]

    def test_without_the_setting_there_are_none(self, mirrors: Mirrors, nested: Path, tmp_path: Path) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent(submodules=False))
        assert (trip.supply.modules, trip.supply.said) == ((), ())
        assert list((trip.folder / "libs/lib").iterdir()) == []


class TestComingHome:
    """Work around a submodule comes home; work inside one does not, and is said."""

    def test_work_around_them_comes_home(self, mirrors: Mirrors, nested: Path, tmp_path: Path) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent())
        (trip.folder / "adder.py").write_text("better\n")
        harvest = trip.harvest()
        came = trip.receive(harvest.bundle)
        assert isinstance(came, Returned)
        assert (came.files_changed, came.flags, harvest.work_inside) == (1, (), ())

    def test_work_inside_one_is_said_and_its_new_commit_is_flagged(
        self, mirrors: Mirrors, nested: Path, tmp_path: Path
    ) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent())
        (trip.folder / "libs/lib/adder.py").write_text("better\n")
        git(trip.folder / "libs/lib", "commit", "--quiet", "-am", "inside")
        (trip.folder / "libs/lib/deep/er/README").write_text("dirty\n")
        harvest = trip.harvest()
        assert harvest.work_inside == ("libs/lib", "libs/lib/deep/er")
        came = trip.receive(harvest.bundle)
        assert isinstance(came, Returned)
        assert came.flags == (Flag(kind="submodule", path="libs/lib"),)

    @pytest.mark.parametrize("broken", [".git", ".git/modules", ".git/modules/the lib/HEAD"])
    def test_a_broken_one_costs_no_work(self, mirrors: Mirrors, nested: Path, tmp_path: Path, broken: str) -> None:
        trip = set_out(mirrors, nested, tmp_path / "w", extent=Extent())
        (trip.folder / "adder.py").write_text("better\n")
        place = trip.folder / broken
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        came = trip.come_home()
        assert isinstance(came, Returned)
        assert (came.files_changed, came.flags) == (1, ())
