"""What bubblewrap is told, and what users are told when it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined, Mount
from crewcap.workspaces.sandbox.bubblewrap import Bubblewrap, _files, _namespaces, _parents


def test_parents_of_everything_are_made_from_the_outside_in() -> None:
    """Bubblewrap run as root would make them 0700, and the agent could not pass."""
    assert _parents(["/etc/ssl/certs", "/home/agent", "/workspace", "/opt/agent/claude"]) == [
        *("/etc", "/home", "/opt", "/run", "/etc/ssl", "/opt/agent")
    ]


def test_nothing_is_made_inside_a_mount() -> None:
    """It would be made on the host."""
    assert _parents(["/workspace", "/workspace/deep/er", "/usr/x/y"]) == ["/run"]


def test_folders_in_a_file_system_of_the_sandboxs_own_are_made_in_it() -> None:
    """What was made there before would be covered by it."""
    targets = ["/tmp/a/b/one", "/tmp/a/two", "/opt/x", "/tmp"]
    assert _parents(targets) == ["/opt", "/run"]
    assert _parents(targets[:3], within="/tmp") == ["/tmp/a", "/tmp/a/b"]


def test_as_root_every_right_goes_but_those_that_the_launcher_gives_up_itself() -> None:
    words = " ".join(_namespaces(as_root=True))
    assert "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP" in words
    assert "--unshare-user" not in words


def test_a_plain_user_keeps_no_right_at_all() -> None:
    words = " ".join(_namespaces(as_root=False))
    assert "--unshare-user --uid 1000 --gid 1000" in words
    assert "--cap-add" not in words


@pytest.mark.parametrize("as_root", [True, False])
def test_the_network_and_the_parents_life_are_never_shared(as_root: bool) -> None:  # noqa: FBT001  (a parameter)
    words = _namespaces(as_root=as_root)
    assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"} <= set(words)


def test_links_are_followed_before_a_mount_is_made(tmp_path: Path) -> None:
    """An agent's command is often a link into a folder of versions."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "2.1").touch()
    (tmp_path / "claude").symlink_to(tmp_path / "versions" / "2.1")
    mount = Mount(source=tmp_path / "claude", target="/opt/agent/claude")
    words = _files(Confined(argv=(), environ={}, cwd="/", mounts=(mount,)), 61_000, lambda _: 9)
    at = words.index("/opt/agent/claude")
    assert words[at - 2 : at] == ["--ro-bind", str((tmp_path / "versions" / "2.1").resolve())]


def test_a_mount_that_does_not_exist_is_said(tmp_path: Path) -> None:
    mount = Mount(source=tmp_path / "gone", target="/workspace")
    with pytest.raises(UnsafeEnvironment, match="gone cannot be shown inside: No such file"):
        _files(Confined(argv=(), environ={}, cwd="/", mounts=(mount,)), 61_000, lambda _: 9)


def test_an_agent_of_the_system_stays_where_it_is(tmp_path: Path) -> None:
    """Its libraries lie beside it."""
    places = {"workspace": tmp_path, "home": tmp_path, "objects": tmp_path}
    assert Bubblewrap().layout(**places, binary=Path("/usr/bin/env")).binary.startswith("/usr/")
    assert Bubblewrap().layout(**places, binary=tmp_path / "claude").binary == "/opt/agent/claude"
