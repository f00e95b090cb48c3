"""`doctor --repo` as a user starts it, and what becomes of it when it is cut short."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.sandboxes import missing
from tests.workspaces.repos import git, make_repository

pytestmark = pytest.mark.sandbox
_LIMIT_S = 60
_BEGUN = "doctor-*/workspace/begun"


class Rehearsal:
    """A home, its settings and one repository."""

    def __init__(self, folder: Path) -> None:
        self.shop, self.home = make_repository(folder / "shop"), folder / "state"
        self._config = folder / "config.toml"
        self._started: list[subprocess.Popen[str]] = []

    def configure(self, text: str) -> None:
        self._config.write_text(text)

    def project(self, text: str) -> None:
        (self.shop / ".crewcap.toml").write_text(text)
        git(self.shop, "add", ".")
        git(self.shop, "commit", "--quiet", "-m", "settings")

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "crewcap", "--home", str(self.home), "--config", str(self._config), *words]

    def crewcap(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*words), cwd="/", capture_output=True, text=True, check=False, timeout=_LIMIT_S)

    def doctor(self) -> subprocess.CompletedProcess[str]:
        return self.crewcap("doctor", "--repo", str(self.shop))

    def begun(self) -> tuple[subprocess.Popen[str], Path]:
        """A doctor whose setup is at work, and its folder."""
        before = set(self.home.glob(_BEGUN))
        doctor = subprocess.Popen(
            self.argv("doctor", "--repo", str(self.shop)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
        )
        self._started.append(doctor)
        until = time.monotonic() + _LIMIT_S
        while not (new := set(self.home.glob(_BEGUN)) - before):
            assert doctor.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        return doctor, new.pop().parent.parent

    def left(self) -> list[Path]:
        return [*self.home.glob("doctor-*"), *self.home.glob("trash/*")]

    def end(self) -> None:
        for doctor in self._started:
            doctor.kill()
            doctor.wait()


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"no bubblewrap here: {reason}")
    made = Rehearsal(tmp_path)
    made.configure("")
    yield made
    made.end()


@pytest.mark.parametrize(
    ("project", "where"),
    [
        ('setup = "sleep 10000"', "in its setup `sleep 10000`"),
        ('check = "sleep 10000"', "before its agent began, with its check"),
    ],
)
@pytest.mark.parametrize("by", ["default", "route"])
def test_setup_and_check_have_the_time_of_a_run_and_end_in_its_words(
    rehearsal: Rehearsal, project: str, where: str, by: str
) -> None:
    rule = '[[routes]]\nmatch = { repo = "shop" }\ntimeout = "2s"\n'
    rehearsal.configure('[defaults]\ntimeout = "2s"\n' if by == "default" else rule)
    rehearsal.project(project)
    done = rehearsal.doctor()
    assert f"its time, 2 s, was up {where}; nothing was spent" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not fit: ")
    assert (done.returncode, rehearsal.left()) == (4, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_leaves_nothing(rehearsal: Rehearsal, number: signal.Signals) -> None:
    rehearsal.project('setup = "touch begun; sleep 10000"')
    doctor, _ = rehearsal.begun()
    doctor.send_signal(number)
    assert doctor.wait(_LIMIT_S) == 128 + number
    assert rehearsal.left() == []


def test_what_a_killed_one_left_is_named_and_swept_and_a_living_one_is_neither(rehearsal: Rehearsal) -> None:
    rehearsal.project('setup = "touch begun; sleep 10000"')
    (killed, dead), (living, alive) = rehearsal.begun(), rehearsal.begun()
    killed.kill()
    killed.wait()
    assert f"left by a `doctor --repo` that was killed: {dead}\n" in rehearsal.crewcap("doctor").stdout
    foretold = rehearsal.crewcap("workspace", "sweep", "--dry-run").stdout
    assert (dead.name in foretold, alive.name in foretold) == (True, False)
    swept = rehearsal.crewcap("workspace", "sweep").stdout.splitlines()
    assert swept[0].split() == ["removed", dead.name]
    assert (rehearsal.left(), living.poll()) == ([alive], None)
