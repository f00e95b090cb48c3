"""Folders of the user's that a run may see, and what is never in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.errors import SettingsError
from crewcap.workspaces import Mount
from crewcap.workspaces.project.shown import refuse_secret, shown


def targets(mounts: tuple[Mount, ...], below: Path) -> set[str]:
    assert not any(mount.writable for mount in mounts)
    return {str(Path(mount.target).relative_to(below)) for mount in mounts}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for path in (".cargo/bin/tool", ".cargo/registry/x", ".nvm/versions/node/v20.1.0/bin/node", ".ssh/id_rsa"):
        (tmp_path / "ana" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ana" / path).write_text("x")
    return tmp_path / "ana"


def test_a_folder_is_one_mount_at_its_own_path(home: Path) -> None:
    assert shown(home / ".nvm") == (Mount(source=home / ".nvm", target=str(home / ".nvm")),)


def test_what_usr_has_is_there_already() -> None:
    assert shown(Path("/usr/bin")) == ()


@pytest.mark.parametrize("secret", ["credentials", "credentials.toml", "bin/.netrc", ".ssh/key", "a/b/id_rsa"])
def test_beside_credentials_the_rest_is_shown_one_by_one(home: Path, secret: str) -> None:
    """One of the rungs cannot hide a part of what it shows."""
    place = home / ".cargo" / secret
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("token")
    mounts = shown(home / ".cargo")
    assert "registry" in targets(mounts, home / ".cargo")
    assert not any(place.is_relative_to(mount.source) for mount in mounts)
    assert any((home / ".cargo/bin/tool").is_relative_to(mount.source) for mount in mounts)


@pytest.mark.parametrize(
    ("content", "is_shown"),
    [
        ("[global]\nindex-url = https://ana:hunter2@example.org/simple\n", False),
        ("//registry.example.org/:_authToken=abc\n", False),
        ("<server><password>x</password></server>", False),
        ("[global]\nindex-url = https://example.org/simple\n", True),
    ],
)
@pytest.mark.parametrize("name", ["pip.conf", "etc/npmrc", "settings.xml"])
def test_files_that_may_hold_a_secret_are_looked_into(home: Path, name: str, content: str, is_shown: bool) -> None:  # noqa: FBT001  (a parameter)
    place = home / ".nvm" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(content)
    assert any(place.is_relative_to(mount.source) for mount in shown(home / ".nvm")) is is_shown


def test_a_link_beside_a_secret_is_not_followed(home: Path) -> None:
    """A mount would show what it leads to."""
    (home / ".cargo/credentials").write_text("token")
    (home / ".cargo/other").symlink_to(home / ".ssh")
    (home / ".cargo/another").symlink_to("credentials")
    assert targets(shown(home / ".cargo"), home / ".cargo") == {"bin", "registry"}


def test_a_folder_behind_a_link_is_seen_at_both_paths(home: Path) -> None:
    """Scripts name the path by which they were installed."""
    (home / "node").symlink_to(home / ".nvm")
    assert targets(shown(home / "node"), home) == {".nvm", "node"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "your whole home"),
        ("..", "your whole home"),
        (".ssh", "credentials"),
        (".ssh/id_rsa", "credentials"),
        (".config", "credentials"),
        (".config/gh", "credentials"),
        (".netrc", "credentials"),
        (".cargo/credentials.toml", "credentials"),
        (".docker", "credentials"),
        (".local/state/crewcap", "credentials"),
        (".local", "more than a toolchain"),
        (".local/share", "more than a toolchain"),
        ("state/crewcap", "crewcap's own state"),
        ("state", "crewcap's own state"),
        ("sly", "credentials"),
    ],
)
def test_what_no_run_may_see_is_refused_in_one_line(home: Path, name: str, reason: str) -> None:
    (home / "sly").symlink_to(".ssh")
    with pytest.raises(SettingsError) as refused:
        refuse_secret((home / name), user_home=home, forbidden=(home / "state/crewcap",), said=f"~/{name}")
    assert reason in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/ssl", "/proc/self", "/home", "/root", "/var", "/run/secrets"])
def test_neither_is_the_system(home: Path, path: str) -> None:
    with pytest.raises(SettingsError, match="no run may see"):
        refuse_secret(Path(path), user_home=home, forbidden=(), said=path)


@pytest.mark.parametrize("path", [".nvm", ".cargo", ".local/share/uv", ".cache/tool"])
def test_a_toolchain_is_not_refused(home: Path, path: str) -> None:
    refuse_secret(home / path, user_home=home, forbidden=(home / "state",), said=path)
