"""What an agent left in its repository's settings is named; what we or a harmless tool wrote is not an alarm."""

from __future__ import annotations

from tests.workspaces.planted import settings
from tests.workspaces.repos import Trip, git

from crewcap.workspaces.repository.plants import planted_hooks, planted_settings

HARMLESS = {"submodule.x.url", "submodule.recurse", "filter.evil.required", "commit.gpgsign", "tag.gpgsign"} | {
    *("remote.origin.url", "extensions.worktreeconfig", "gpg.ssh.defaultkeycommand")
}


def test_every_planted_setting_that_runs_something_is_named() -> None:
    class Same(dict[str, str]):
        def __missing__(self, name: str) -> str:
            return name

    for key, value in settings(Same(), "http://192.0.2.1/"):
        section, _, name = key.rpartition(".")
        first, dot, rest = section.partition(".")
        listed = f"{first.lower()}{dot}{rest}.{name.lower()}"  # as git lists them
        assert bool(planted_settings(f"{listed}\n{value}\0".encode())) == (listed not in HARMLESS), listed


def test_a_fresh_workspace_has_none(trip: Trip) -> None:
    assert trip.harvest().planted == ()


def test_what_was_planted_is_told(trip: Trip) -> None:
    git(trip.folder, "config", "core.fsmonitor", "touch ran")
    git(trip.folder, "config", "user.name", "me")
    (trip.folder / ".git/hooks").mkdir()
    (trip.folder / ".git/hooks/pre-commit").touch()
    assert trip.harvest().planted == ("core.fsmonitor", "hooks/pre-commit")


def test_names_are_plain_and_few() -> None:
    listing = "".join(f"alias.\x1b[31m{number}\nx\0" for number in range(1_000))
    found = planted_settings(listing.encode())
    assert len(found) == 100
    assert all(name.isprintable() for name in found)
    assert planted_hooks(b"pre-commit.sample\nupdate\n") == ("hooks/update",)
