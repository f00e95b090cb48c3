"""One `crewcap serve` a home."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home
from crewcap.runner.ownership import myself
from crewcap.runner.worker.presence import Presence, noted, serving
from crewcap.serve.claim import claim


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def me() -> Presence:
    pid, started = myself()
    return Presence(pid=pid, started=started, url="http://127.0.0.1:1", worker_pid=7)


def test_a_second_one_is_refused_with_the_pid_of_the_first(home: Home) -> None:
    with claim(home) as first:
        first.say(me())
        with (
            pytest.raises(UnsafeEnvironment, match=rf"runs already on {home.root} \(process {os.getpid()}\)"),
            claim(home),
        ):
            pass
        assert serving(home) == me()
    assert serving(home) is None
    assert not home.serve_note.exists()


def test_one_that_has_said_nothing_yet_is_refused_without_a_pid(home: Home) -> None:
    """A note that is left from a kill names somebody else."""
    home.make()
    home.serve_note.write_text('{"pid": 1, "started": "0"}')
    with claim(home), pytest.raises(UnsafeEnvironment, match=rf"runs already on {home.root}\Z"), claim(home):
        pass


def test_what_was_left_by_a_kill_is_taken_over(home: Home) -> None:
    """The kernel lets go of a lock when its holder is gone, however it went."""
    code = (
        "import os, sys; from pathlib import Path; from crewcap.home import Home\n"
        "from crewcap.serve.claim import claim; from crewcap.runner.worker.presence import Presence\n"
        "with claim(Home(Path(sys.argv[1]))) as found:\n"
        "    found.say(Presence(pid=os.getpid(), started='1', worker_pid=5)); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(home.root)], check=False, timeout=30)
    assert serving(home) is None
    with claim(home) as found:
        assert found.before is not None
        assert found.before.worker_pid == 5


def test_a_claim_that_never_said_anything_leaves_the_note_of_the_one_before(home: Home) -> None:
    """Its children may be alive, and the next one has to know."""
    home.make()
    home.serve_note.write_text('{"pid": 1, "worker_pid": 5}')
    with claim(home):
        pass
    assert noted(home) == Presence(pid=1, worker_pid=5)


def test_somebody_who_only_looks_refuses_nobody(home: Home) -> None:
    home.make()
    lock = os.open(home.serve_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    looks = threading.Timer(0.1, os.close, (lock,))
    looks.start()
    with claim(home):
        assert serving(home) is not None
    looks.join()
