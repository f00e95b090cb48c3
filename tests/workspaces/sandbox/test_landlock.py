"""What the kernel is told to close, version by version."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined, Mount
from crewcap.workspaces.sandbox.landlock import Landlock, _order
from crewcap.workspaces.sandbox.uids import is_root

FILE_RIGHTS = 1 | 2 | 4 | 1 << 14 | 1 << 15


def _command(folder: Path) -> Confined:
    (folder / "w").mkdir()
    (folder / "claude").touch()
    mounts = (Mount(source=folder / "w", target="", writable=True), Mount(source=folder / "claude", target=""))
    return Confined(argv=(), environ={}, cwd="/", mounts=mounts)


@pytest.mark.parametrize(
    ("version", "files", "scopes", "size"),
    [(4, (1 << 15) - 1, 0, 16), (5, (1 << 16) - 1, 0, 16), (6, (1 << 16) - 1, 3, 24), (9, (1 << 16) - 1, 3, 24)],
)
def test_every_version_is_told_all_that_it_knows_and_no_more(
    tmp_path: Path, version: int, files: int, scopes: int, size: int
) -> None:
    """An unknown right would be refused, a forgotten one would stay open."""
    order = _order(_command(tmp_path), version)
    assert (order["handled_files"], order["scopes"], order["size"], order["handled_net"]) == (files, scopes, size, 3)


def test_a_file_gets_rights_of_files_only(tmp_path: Path) -> None:
    """For a file, the kernel refuses rights that only a folder has."""
    rules = dict(_order(_command(tmp_path), 7)["rules"])
    assert rules[str((tmp_path / "w").resolve())] == (1 << 16) - 1
    assert rules[str((tmp_path / "claude").resolve())] == 1 | 4
    assert rules["/dev/null"] & ~FILE_RIGHTS == 0


def test_nothing_of_the_system_can_be_written(tmp_path: Path) -> None:
    rules = dict(_order(_command(tmp_path), 7)["rules"])
    writable = {path for path, rights in rules.items() if rights & ~(1 | 4 | 8)}
    assert writable <= {"/dev/null", "/dev/tty", str((tmp_path / "w").resolve())}


@pytest.mark.skipif(not is_root(), reason="a plain user walks where it lives")
@pytest.mark.sandbox
def test_as_root_a_closed_folder_is_named_with_what_opens_it() -> None:
    if reason := Landlock().missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        coroutine = Landlock().start(_command(Path(folder)), uid=61_000)
        with pytest.raises(UnsafeEnvironment, match=f"may not pass through {folder}") as refused:
            coroutine.send(None)
        assert "chmod o+x" in refused.value.help
