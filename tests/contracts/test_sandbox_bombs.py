"""Bombs, on every rung: the machine answers, the run ends with the name of its limit, and nothing is left.

Where a rung or a machine cannot enforce a limit, the child says so (`unenforced`), and the bomb is ended by a stop.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.contracts.sandboxes import Family, Ground, Outcome, family, ground, missing, within

from crewcap.workspaces import LADDER, Limits, Rung
from crewcap.workspaces.removal import remove_tree
from crewcap.workspaces.sandbox.watch import held_bytes

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(60)]
MIB = 1 << 20
ANSWER_S = 1.0
PATIENCE_S = 20.0

FORKS = """
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(60)
    except OSError: time.sleep(0.001)
"""
FORKS_AWAY = """
import os, time
while True:
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(60)
            os._exit(0)
    except OSError: time.sleep(0.001)
"""
EATS = "x = bytearray(400 << 20); print('had it')"
EATS_BY_CHILDREN = """
import subprocess, sys, time
eat = "x = bytearray(200 << 20)"
while True: subprocess.run([sys.executable, "-I", "-S", "-c", eat]); time.sleep(0.001)
"""
MANY_FILES = """
import os, itertools
os.chdir(os.environ["HOME"])
for n in itertools.count():
    if n % 500 == 0: os.makedirs(str(n)); os.chdir(str(n))
    with open(f"f{n}", "wb") as f: f.write(bytes(8192))
"""
ONE_FILE = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with open("f", "wb") as f:
    while True: f.write(bytes(65536))
"""
DEEP = """
import os
for _ in range(1_200): os.mkdir("d" * 40); os.chdir("d" * 40)
open("f", "wb").write(bytes(1 << 20))
"""
FLOOD = "import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)"

# name -> (program, limits, the limit that ends it)
BOMBS = {
    "forks": (FORKS, Limits(processes=40), "processes"),
    "forks that leave their session": (FORKS_AWAY, Limits(processes=40), "processes"),
    "eats memory": (EATS, Limits(memory_bytes=100 * MIB), "memory"),
    "eats memory by children, for ever": (EATS_BY_CHILDREN, Limits(memory_bytes=100 * MIB), "memory"),
    "one large file": (ONE_FILE, Limits(file_bytes=4 * MIB), "file size"),
    "many small files": (MANY_FILES, Limits(disk_bytes=12 * MIB), "disk"),
    "says too much": (FLOOD, Limits(output_bytes=MIB), "output"),
}


@pytest.fixture(params=LADDER)
def run(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each rung that this machine has."""
    yield from _on(request.param)


@pytest.fixture
def bubblewrap() -> Iterator[Ground]:
    yield from _on("bubblewrap")


def _on(rung: Rung) -> Iterator[Ground]:
    if reason := missing(rung):
        pytest.skip(f"{rung}: {reason}")
    with ground(rung) as made:
        yield made


@pytest.fixture
def kin() -> Iterator[Family]:
    with family() as members:
        yield members


class Pulse:
    """How long this machine takes to start a small program, again and again, while something goes on."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        while not self._over.wait(0.05):
            began = time.monotonic()
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
            self.worst_s = max(self.worst_s, time.monotonic() - began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


async def _blow(run: Ground, program: str, limits: Limits, name: str) -> tuple[Outcome, bool]:
    """Start a bomb and see it through; where its limit does not hold here, stop it."""
    child = await run.start(run.python(program, limits=limits))
    holds = name in child.enforced
    assert holds != (name in child.unenforced)
    reading = asyncio.gather(child.stdout.read(), child.stderr.read())
    if not holds:
        await asyncio.sleep(0.3)
        await child.stop(ask_s=0, term_s=0)
    try:
        status = await asyncio.wait_for(child.wait(), PATIENCE_S)
    finally:
        await child.stop(ask_s=0, term_s=0)
    out, err = await reading
    ended = Outcome(status=status, out=out, stderr=err.decode(), limit_hit=child.limit_hit, enforced=child.enforced)
    return ended, holds


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_with_the_name_of_its_limit(run: Ground, kin: Family, bomb: str) -> None:
    program, limits, name = BOMBS[bomb]
    with Pulse() as pulse:
        ended, holds = within(lambda: _blow(run, program, limits, name))
    assert ended.status != 0
    if holds:
        assert ended.limit_hit == name, ended
    assert pulse.worst_s < ANSWER_S
    assert kin.alive_after(5) == []


def test_a_busy_run_keeps_no_more_processors_than_it_may(run: Ground, kin: Family) -> None:
    program = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        end = time.monotonic() + 1\n"
        "        while time.monotonic() < end: pass\n"
        "        os._exit(0)\n"
        "for _ in range(3): os.wait()\n"
        "t = os.times(); print(t.children_user + t.children_system)\n"
    )
    with Pulse() as pulse:
        done = run.perform(run.python(program, limits=Limits(cpus=1)))
    assert pulse.worst_s < ANSWER_S
    assert kin.alive() == []
    if "cpus" in done.enforced:
        assert float(done.stdout) < 1.5, "three that are busy for a second, on one processor"


def test_a_sparse_file_costs_what_it_holds(run: Ground) -> None:
    """And cannot be larger than one file may be."""
    program = (
        "import os, signal\n"
        "for n in range(8):\n"
        "    with open(f's{n}', 'wb') as f: f.truncate(3 << 20)\n"
        "try:\n"
        "    with open('big', 'wb') as f: f.truncate(1 << 40)\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = run.perform(run.python(program, limits=Limits(disk_bytes=4 * MIB)))
    assert (done.status, done.limit_hit) == (0, "")
    assert done.stdout.strip() == "27"  # EFBIG
    assert (run.workspace / "big").stat().st_size == 0


def test_ten_thousand_files_are_measured_and_go(bubblewrap: Ground) -> None:
    program = "import os\nfor n in range(10_000): os.close(os.open(f'{n}', os.O_CREAT | os.O_WRONLY))"
    done = bubblewrap.perform(bubblewrap.python(program))
    assert (done.status, done.limit_hit) == (0, "")
    assert within(lambda: held_bytes([bubblewrap.workspace])) > 0
    remove_tree(bubblewrap.workspace)
    assert not bubblewrap.workspace.exists()


def test_folders_within_folders_without_end_hold_nobody_up(bubblewrap: Ground) -> None:
    """Neither who measures, nor who gives the tree to a user, nor who removes it."""
    assert bubblewrap.perform(bubblewrap.python(DEEP)).status == 0
    assert within(lambda: held_bytes([bubblewrap.workspace])) > MIB
    bubblewrap.sandbox.prepare(uid=bubblewrap.uid, owned=(bubblewrap.workspace,))
    remove_tree(bubblewrap.workspace)
    assert not bubblewrap.workspace.exists()


def test_descriptors_run_out_for_the_run_alone(run: Ground) -> None:
    program = (
        "import os, resource\n"
        "most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "n = 0\n"
        "try:\n"
        "    while True: os.open('/dev/null', os.O_RDONLY); n += 1\n"
        "except OSError as error: print(error.errno, n <= 65_536)\n"
    )
    assert run.plain("true").status == 0
    assert run.perform(run.python(program)).stdout.split() == ["24", "True"]  # EMFILE
    with Path("/dev/null").open("rb"):
        pass


def test_shared_memory_is_bounded_and_its_own(bubblewrap: Ground) -> None:
    """/dev/shm is memory of the run's."""
    program = (
        "import os\n"
        "try:\n"
        "    with open('/dev/shm/x', 'wb') as f:\n"
        "        for _ in range(200): f.write(bytes(1 << 20))\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = bubblewrap.perform(bubblewrap.python(program, limits=Limits(memory_bytes=60 * MIB)))
    assert (done.limit_hit, done.stdout.strip()) in {("memory", ""), ("", "28")}  # ended, or ENOSPC
    assert not Path("/dev/shm/x").exists()
