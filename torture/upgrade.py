"""A run of an older crewcap, killed in the middle of its agent's work, is gone on with by this one.

The older one is the program of a commit, laid out beside us by git; where there is no such history, nothing is tried.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.runner.worker.fleet import ROOT, Fleet, Machine, a_fleet

from crewcap.core.runs import RunState
from crewcap.prices import Book
from torture.fleet_table import FleetRow
from torture.law import judge

BEFORE = "c3858f9"  # books of migrations 0001 to 0008, runs that a command alone drove
TASK = "seconds=120 asking please"


def run(folder: Path, book: Book) -> FleetRow:
    """Kill the older one in mid-agent, and resume with ours."""
    program, began = folder / "before", time.monotonic()
    laid = subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "add", "--detach", "--quiet", str(program), BEFORE],
        check=False,
        capture_output=True,
    )
    if laid.returncode:
        return _row([], 0, struck=False, seconds=time.monotonic() - began)
    try:
        broken, agents = _run(folder / "fleet", program / "src", book)
        return _row(broken, agents, struck=True, seconds=time.monotonic() - began)
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(program)], check=False)


def _row(broken: list[str], agents: int, *, struck: bool, seconds: float) -> FleetRow:
    return FleetRow(
        part="upgrade",
        name=f"1, books in a file, the program of {BEFORE} before",
        seed=0,
        runs=1,
        happened="a command was killed in mid-agent" if struck else "no such commit here",
        cut_short=int(struck),
        stayed=int(struck and not broken),
        agents=agents,
        seconds=seconds,
        struck=struck,
        broken=tuple(broken),
    )


def _run(folder: Path, older: Path, book: Book) -> tuple[list[str], int]:
    folder.mkdir()
    with a_fleet(folder, None, book) as fleet:
        machine = fleet.machine("alone")
        fleet.machines.append(machine)
        settings = machine.config.read_text(encoding="utf-8")
        machine.config.write_text(settings.replace('[serve]\ndrain = "3s"\n', ""), encoding="utf-8")  # not known then
        _die_in_mid_agent(fleet, machine, older)
        said = fleet.crewcap(machine, "resume")
        fleet.simulator.idle_in_thread()
        found = [f"resume ended with {said.returncode}: {said.stderr}"] if said.returncode else []
        found += _of_its_run(fleet)
        judged = judge(fleet.app.ledger, fleet.simulator.meter.total(), faults=found)
        return list(judged.broken), len(fleet.lines("start"))


def _die_in_mid_agent(fleet: Fleet, machine: Machine, older: Path) -> None:
    words = [sys.executable, "-m", "crewcap", "--home", str(machine.home.root), "--config", str(machine.config)]
    with subprocess.Popen(
        [*words, "run", "-p", TASK, "--repo", "shop"],
        cwd=fleet.user,
        env={**fleet.environ(), "PYTHONPATH": str(older)},
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            fleet.until(lambda: len(fleet.lines("asked")) > 1, "the older one's agent works")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    fleet.until(lambda: fleet.at_work() == [], "its agent is gone")


def _of_its_run(fleet: Fleet) -> Iterator[str]:
    (found,) = fleet.runs()
    if found.state != RunState.DONE:
        yield f"it is {found.state}: {found.reason}"
    resumed = [line["resumed"] for line in fleet.starts(found)]
    if resumed != [False, True]:
        yield f"its agent was started as {resumed}"
