"""A backup while runs are at work, the books lost, and the documented procedure, to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.runner.worker.fleet import LIMIT_S, ROOT, Fleet, Machine, a_fleet, overlapping

from crewcap.core.budget import ALL
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState
from crewcap.prices import load

DECISIONS = ROOT / "docs" / "decisions"
LONG = "seconds=120 asking"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """One machine, whose books are a file."""
    with a_fleet(tmp_path, None, load()) as made:
        yield made


def blocks(page: str = "restore.md") -> list[str]:
    """The commands of the procedure."""
    return re.findall(r"```sh\n(.*?)```", (DECISIONS / page).read_text(encoding="utf-8"), re.DOTALL)


def typed(fleet: Fleet, machine: Machine, block: str, **variables: str) -> str:
    """What an operator types, in a shell of theirs."""
    programs = fleet.folder / "bin"
    programs.mkdir(exist_ok=True)
    command = programs / "crewcap"
    place = f'--home "{machine.home.root}" --config "{machine.config}"'
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m crewcap {place} "$@"\n')
    command.chmod(0o755)
    environ = {**fleet.environ(), **variables, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", block], env=environ, check=False, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def works(fleet: Fleet, run: Run) -> None:
    fleet.until(lambda: [it for it in fleet.lines("asked") if it["session"] == run.session], f"{run.name} works")


def charged(fleet: Fleet) -> Money:
    totals = fleet.app.ledger.totals(ALL)
    return totals.spent + totals.uncertain


@contextmanager
def closed(fleet: Fleet) -> Iterator[None]:
    """Nobody has the books open: what this process knows of them is over."""
    fleet.app.close()
    del fleet.__dict__["app"]
    fleet.__dict__.pop("_order", None)
    yield


def test_serve_goes_on_after_books_were_lost_and_nothing_is_free(fleet: Fleet) -> None:
    backup, restore = blocks()
    machine = fleet.serve("alone")
    done = fleet.add("done", "seconds=0")
    fleet.until(lambda: fleet.run(done).state == RunState.DONE, "the first run is done")
    at_work, ended = fleet.add("at-work", LONG), fleet.add("ended-since", "seconds=3 asking")
    works(fleet, at_work)
    works(fleet, ended)
    copy = fleet.folder / "copy.db"
    typed(fleet, machine, backup, BACKUP=str(copy))
    fleet.until(lambda: fleet.run(ended).state == RunState.DONE, "the one has ended since")
    made_since = fleet.add("made-since", "seconds=0")
    fleet.until(lambda: fleet.run(made_since).state == RunState.DONE, "one was made since")

    machine.kill()
    fleet.until(lambda: fleet.at_work() == [], "its agents are gone")
    fleet.simulator.idle_in_thread()
    billed = fleet.simulator.meter.total()
    with closed(fleet):
        for name in ("ledger.db", "ledger.db-wal"):
            (machine.home.root / name).write_bytes(b"a disk that forgot")
        typed(fleet, machine, restore, BACKUP=str(copy), STATE=str(machine.home.root), BILLED_SINCE=billed.exact())

    assert charged(fleet) >= billed
    fleet.serve("alone")
    fleet.until(lambda: not fleet.still_open(), "all that was open has ended")
    assert {run.name for run in fleet.runs()} == {done.name, at_work.name, ended.name}
    assert fleet.run(at_work).state == fleet.run(ended).state == RunState.DONE
    assert fleet.run(ended).attempt == 2  # the engine holds its first one for done
    assert [it["resumed"] for it in fleet.starts(at_work)] == [False, True]
    assert overlapping(fleet.lines()) == []
    assert len(fleet.starts(done)) == 1
    fleet.simulator.idle_in_thread()
    assert charged(fleet) >= fleet.simulator.meter.total()
    assert fleet.app.ledger.verify().problems == ()


def test_an_engine_that_lost_its_file_begins_what_was_open_again(fleet: Fleet) -> None:
    machine = fleet.serve("alone")
    run = fleet.add("open", LONG)
    works(fleet, run)
    machine.kill()
    fleet.until(lambda: fleet.at_work() == [], "its agent is gone")
    for path in machine.home.root.glob("engine.db*"):
        path.unlink()
    fleet.serve("alone")
    fleet.until(lambda: fleet.run(run).state == RunState.DONE, "it goes on to its end")
    assert fleet.run(run).attempt == 2
    assert [it["resumed"] for it in fleet.starts(run)] == [False, True]
