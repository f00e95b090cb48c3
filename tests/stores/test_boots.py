"""A gateway is dead when its lock is free, and not before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from crewcap.core.budget import BootId
from crewcap.stores import boots

_HOLD = "from pathlib import Path; from crewcap.stores.boots import BootLock; "


def test_a_boot_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    lock = boots.BootLock(tmp_path / "boots")
    assert boots.is_alive(tmp_path / "boots", lock.boot)
    lock.release()
    assert not boots.is_alive(tmp_path / "boots", lock.boot)
    assert list((tmp_path / "boots").iterdir()) == []


def test_a_boot_without_a_lock_file_is_dead(tmp_path: Path) -> None:
    assert not boots.is_alive(tmp_path / "boots", BootId("boot-unknown"))
    boots.forget(tmp_path / "boots", BootId("boot-unknown"))


def test_every_boot_has_a_name_and_a_file_of_its_own(tmp_path: Path) -> None:
    first, second = boots.BootLock(tmp_path), boots.BootLock(tmp_path)
    assert first.boot != second.boot
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    first.release()
    assert boots.is_alive(tmp_path, second.boot)
    second.release()


def test_a_child_that_is_started_does_not_keep_its_parents_boot_alive(tmp_path: Path) -> None:
    """The agent of a run may outlive the gateway that started it."""
    lock = boots.BootLock(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "input(1)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
    )
    try:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"1"  # it runs its own program by now
        lock._file.close()
        assert not boots.is_alive(tmp_path, lock.boot)
    finally:
        child.communicate(b"\n", timeout=30)


def test_a_killed_process_frees_its_lock(tmp_path: Path) -> None:
    code = f"{_HOLD}lock = BootLock(Path({str(tmp_path)!r})); print(lock.boot, flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    boot = BootId(child.stdout.readline().strip())
    assert boots.is_alive(tmp_path, boot)
    os.kill(child.pid, 9)
    child.communicate(timeout=30)
    assert not boots.is_alive(tmp_path, boot)
    boots.forget(tmp_path, boot)
    assert list(tmp_path.iterdir()) == []
