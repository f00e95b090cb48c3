"""Whether a serve is alive, by its lock, and what it says of itself."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from crewcap.home import Home
from crewcap.runner.ownership import myself
from crewcap.runner.worker.presence import Presence, noted, serving


def hold(home: Home) -> int:
    home.make()
    lock = os.open(home.serve_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_a_note_without_a_lock_is_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path)
    pid, started = myself()
    home.serve_note.write_text(json.dumps({"pid": pid, "started": started}))
    assert serving(home) is None
    os.close(hold(home))
    assert serving(home) is None


def test_a_lock_with_the_note_of_its_holder_says_all_of_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    lock = hold(home)
    pid, started = myself()
    said = {"pid": pid, "started": started, "url": "http://127.0.0.1:8787", "worker_pid": 5, "of_a_later_version": 1}
    home.serve_note.write_text(json.dumps(said))
    found = serving(home)
    assert found == Presence(pid=pid, started=started, url="http://127.0.0.1:8787", worker_pid=5)
    assert found.is_ready
    os.close(lock)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "started": "0", "url": "http://old"}'])
def test_a_lock_with_a_note_that_is_not_its_holders_is_somebody_who_has_said_nothing(tmp_path: Path, note: str) -> None:
    """That somebody has the number 1 today proves nothing."""
    home = Home(tmp_path)
    lock = hold(home)
    home.serve_note.write_text(note)
    found = serving(home)
    assert found == Presence(pid=0)
    assert not found.is_ready
    os.close(lock)


def test_looking_makes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    assert (serving(home), noted(home)) == (None, None)
    assert not home.root.exists()
