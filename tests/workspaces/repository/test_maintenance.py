"""Mirrors of many small pieces are put together, when nobody is at work in them, and nothing is lost by it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tests.workspaces.repos import Trip, git


def _scatter(mirror: Path, number: int) -> None:
    for count in range(number):
        (mirror / "blob").write_text(f"{count}")
        git(mirror, "hash-object", "-w", "blob")
    (mirror / "blob").unlink()


def test_a_mirror_is_repacked_only_when_it_needs_it_and_nobody_holds_it(trip: Trip) -> None:
    mirror = trip.mirrors.mirror(trip.repository)
    assert trip.mirrors.maintain() == ()
    _scatter(mirror, 30)
    lock = os.open(f"{mirror}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert trip.mirrors.maintain(most_loose=20) == ()
    os.close(lock)
    assert trip.mirrors.maintain(most_loose=20) == (mirror.name,)
    assert git(mirror, "cat-file", "-t", trip.base.commit) == "commit"
    (trip.folder / "new").write_text("a workspace goes on as before")
    trip.come_home()
    assert git(trip.folder, "fsck", "--no-dangling") == ""
    assert all(path.stat().st_mode & 0o004 for path in mirror.glob("objects/pack/*"))


def test_what_is_no_mirror_of_ours_is_left_alone(trip: Trip, user: Path) -> None:
    mirrors = trip.mirrors.mirror(trip.repository).parent
    (mirrors / "theirs.git").symlink_to(user / ".git")
    (mirrors / "empty.git").mkdir()
    assert trip.mirrors.maintain() == ()
    assert not (mirrors / "empty.git.lock").exists()
