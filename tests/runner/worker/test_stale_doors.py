"""Folders of dead doors go; whatever else is called like one stays."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crewcap.runner.worker.stale_doors import remove_stale_doors, stale_doors

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, because it is a part of sockets' addresses."""
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        yield Path(folder)


def _door(folder: Path) -> socket.socket:
    folder.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "gw.sock"))
    listening.listen(1)
    return listening


def test_a_door_with_nobody_behind_it_goes_once_it_is_old(place: Path) -> None:
    _door(place / "crewcap-dead").close()
    (place / "crewcap-empty").mkdir()
    assert stale_doors(NOW, below=place) == ()
    dead = (place / "crewcap-dead", place / "crewcap-empty")
    assert stale_doors(LATER, below=place) == dead
    assert remove_stale_doors(LATER, below=place) == dead
    assert list(place.iterdir()) == []


def test_a_door_with_somebody_behind_it_stays(place: Path) -> None:
    """Also when so many are waiting there that it takes nobody more."""
    with closing(_door(place / "crewcap-alive")), closing(_door(place / "crewcap-full")):
        knocking = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for one in knocking:
            one.setblocking(False)
            one.connect_ex(str(place / "crewcap-full" / "gw.sock"))
        assert remove_stale_doors(LATER, below=place) == ()
        for one in knocking:
            one.close()


def test_what_is_no_door_stays(place: Path) -> None:
    (place / "crewcap-notes").mkdir()
    (place / "crewcap-notes" / "file").write_text("mine")
    (place / "outside").mkdir()
    (place / "crewcap-link").symlink_to(place / "outside")
    (place / "crewcap-file").write_text("mine")
    (place / "crewcap-nested" / "in").mkdir(parents=True)
    (place / "other-empty").mkdir()
    before = sorted(place.iterdir())
    assert remove_stale_doors(LATER, below=place) == ()
    assert sorted(place.iterdir()) == before


_LOOK = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from crewcap.runner.worker.stale_doors import stale_doors
print(len(stale_doors(datetime.now(UTC) + timedelta(hours=1), below=Path(sys.argv[1]))))
"""


def test_what_belongs_to_nobody_is_not_judged_by_nobody(place: Path) -> None:
    """In a namespace that knows no other users, everybody's folders look like those of the one who looks."""
    place.chmod(0o777)
    (place / "crewcap-empty").mkdir()
    argv = [sys.executable, "-c", _LOOK, str(place)]
    assert subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "1\n"
    done = subprocess.run(["unshare", "--user", *argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no user namespace here: {done.stderr}")
    assert done.stdout == "0\n"
