"""What outlived its owner is found by what was written down, and ended; nobody else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import PYTHON, ZOO, Family, family, ground, missing

from crewcap.core.runs import RunId
from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home
from crewcap.runner.worker.orphans import Orphan, end_orphans, end_orphans_of, find_orphans
from crewcap.workspaces import LADDER, Rung
from crewcap.workspaces.sandbox.register import FOLDER, MARK, Entry, enter, entries, start_time, this_machine

pytestmark = pytest.mark.sandbox

# Starts the zoo inside, as whoever drives a run does, and waits until somebody kills it.
DRIVER = """
import asyncio, sys
from pathlib import Path
from crewcap.workspaces import Confined, Mount, SANDBOXES
rung, uid, python, workspace, inside, register, program = sys.argv[1:]
async def main():
    command = Confined(argv=(python, "-I", "-c", program, "stay"), environ={}, cwd=inside, mounts=(
        Mount(source=Path(workspace), target=inside, writable=True),), register=Path(register))
    child = await SANDBOXES[rung]().start(command, uid=int(uid))
    print((await child.stdout.readline()).decode(), flush=True)
    await child.wait()
asyncio.run(main())
"""


class Story:
    """As much of a store of runs as is needed here."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def log(self, run: RunId, kind: str, text: str, **_: object) -> None:
        self.lines.append((run, kind, text))


@pytest.fixture
def kin() -> Iterator[Family]:
    with family() as members:
        yield members


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "state")


def _register(home: Home, run: str = "01RUN") -> Path:
    return home.run(run) / FOLDER


def end_of(home: Home, **options: float) -> list[Orphan]:
    return list(end_orphans_of(home.run("01RUN"), Story(), **options))  # type: ignore[arg-type]  # only its story is told


def _entry(process: subprocess.Popen[bytes], *, mark: str = "a" * 32) -> Entry:
    """Of a command whose owner is dead."""
    started = start_time(process.pid)
    return Entry(
        mark=mark,
        machine=this_machine(),
        owner=1,
        owner_started="somebody else's",
        outer=process.pid,
        outer_started=started,
        command=process.pid,
        command_started=started,
    )


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def sleep(**environ: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "1000"], env=environ, start_new_session=True)
        started.append(process)
        return process

    yield sleep
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize("with_supervisor", [False, True], ids=["alone", "with its supervisor"])
def test_after_a_kill_of_the_driver_nothing_of_it_is_alive(
    rung: Rung, home: Home, kin: Family, *, with_supervisor: bool
) -> None:
    """Most rungs see to that by themselves; where their supervisor is killed too, the next start does."""
    if reason := missing(rung):
        pytest.skip(f"{rung}: {reason}")
    with ground(rung) as run:
        words = (rung, str(run.uid), PYTHON, str(run.workspace), run.layout.workspace, str(_register(home)), ZOO)
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, *words], stdout=subprocess.PIPE)
        assert driver.stdout is not None
        assert driver.stdout.readline().strip() == b"ready"
        (entry,) = entries(_register(home))
        assert (entry.owner, entry.is_owned) == (driver.pid, True)
        assert find_orphans(home) == []
        if with_supervisor:
            os.kill(entry.outer, signal.SIGSTOP)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
        if with_supervisor:
            os.kill(entry.outer, signal.SIGKILL)
        story = Story()
        found = end_orphans(home, story)  # type: ignore[arg-type]  # only its story is told
        assert [orphan for orphan in found if orphan.is_alive] == []
        assert kin.alive_after(5) == []
        assert list(entries(_register(home))) == []
        assert len(story.lines) == bool(found)  # another crewcap's start may have been first, by their control groups


def test_an_owner_that_lives_sees_to_its_own(home: Home, sleeper: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = sleeper()
    owner = os.getpid()
    enter(_register(home), replace(_entry(process), owner=owner, owner_started=start_time(owner)))
    assert end_of(home) == []
    assert process.poll() is None


def test_a_number_that_was_given_away_again_is_not_ended(
    home: Home, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """Its start time tells."""
    process = sleeper()
    enter(_register(home), replace(_entry(process), outer_started="1", command_started="1"))
    assert end_of(home) == []
    assert process.poll() is None
    assert list(entries(_register(home))) == []


def test_what_carries_the_mark_is_found_wherever_it_went(
    home: Home, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """And what carries another one is not."""
    gone, marked, other = sleeper(), sleeper(**{MARK: "a" * 32}), sleeper(**{MARK: "b" * 32})
    entry = _entry(gone)
    gone.kill()
    gone.wait()
    enter(_register(home), entry)
    assert [orphan.pid for orphan in find_orphans(home)] == [marked.pid]
    (ended,) = end_of(home)
    assert (ended.pid, ended.words, ended.is_alive, ended.run) == (marked.pid, "sleep 1000", False, "01RUN")
    assert marked.wait(10) == -signal.SIGKILL
    assert other.poll() is None


def test_entries_of_another_boot_are_struck_and_those_of_another_container_are_left(
    home: Home, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = sleeper()
    entry, boot = _entry(process), this_machine().partition(" ")[0]
    enter(_register(home), replace(entry, mark="a" * 32, machine="another-boot pid:[1]"))
    enter(_register(home), replace(entry, mark="b" * 32, machine=f"{boot} pid:[1]"))
    assert end_of(home) == []
    assert process.poll() is None
    assert [each.mark for each in entries(_register(home))] == ["b" * 32]


def test_damaged_and_foreign_files_tell_of_nobody(home: Home, tmp_path: Path) -> None:
    folder = _register(home)
    folder.mkdir(parents=True)
    for name, text in {"torn.json": '{"mark": "a', "list.json": "[]", "odd.json": json.dumps({"groups": 1})}.items():
        (folder / name).write_text(text)
    (tmp_path / "outside" / FOLDER).mkdir(parents=True)
    (home.root / "runs" / "linked").symlink_to(tmp_path / "outside")
    assert find_orphans(home) == []


def test_a_run_is_not_gone_on_with_beside_one_that_cannot_be_ended(
    home: Home, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The refusal names it, and the command that ends it."""
    process = sleeper()
    enter(_register(home), _entry(process))
    with pytest.raises(UnsafeEnvironment, match=f"process {process.pid} of an earlier start") as refused:
        end_of(home, limit_s=-1)
    assert refused.value.help == f"kill -9 {process.pid}, then start the run again"
    assert process.poll() is None
