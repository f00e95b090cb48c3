"""A run of an older crewcap, killed in the middle of its agent's work, is gone on with by this one.

The older one is the program of a commit, laid out beside us by git; where there is no such history, nothing is tried.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.runner.worker.fleet import ROOT, a_fleet

from crewcap.core.budget import ALL
from crewcap.core.money import ZERO
from crewcap.core.runs import RunState
from crewcap.prices import Book
from torture.law import Verdict

BEFORE = "c3858f9"  # books of migrations 0001 to 0008, runs that a command alone drove
TASK = "seconds=120 asking please"


def run(folder: Path, book: Book) -> Verdict:
    """Kill the older one in mid-agent, and resume with ours."""
    program = folder / "before"
    laid = subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "add", "--detach", "--quiet", str(program), BEFORE],
        check=False,
        capture_output=True,
    )
    if laid.returncode:
        return Verdict(billed=ZERO, charged=ZERO, broken=(), struck=False)
    try:
        return _run(folder / "fleet", program / "src", book)
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(program)], check=False)


def _run(folder: Path, older: Path, book: Book) -> Verdict:
    folder.mkdir()
    with a_fleet(folder, None, book) as fleet:
        machine = fleet.machine("alone")
        fleet.machines.append(machine)
        settings = machine.config.read_text(encoding="utf-8")
        machine.config.write_text(settings.replace('[serve]\ndrain = "3s"\n', ""), encoding="utf-8")  # not known then
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
        said = fleet.crewcap(machine, "resume")
        (found,) = fleet.runs()
        fleet.simulator.idle_in_thread()
        totals, billed = fleet.app.ledger.totals(ALL), fleet.simulator.meter.total()
        charged = totals.spent + totals.uncertain + totals.held
        broken = [*fleet.app.ledger.verify().problems]
        broken += [f"resume ended with {said.returncode}: {said.stderr}"] if said.returncode else []
        broken += [f"it is {found.state}: {found.reason}"] if found.state != RunState.DONE else []
        resumed = [line["resumed"] for line in fleet.starts(found)]
        broken += [f"its agent was started as {resumed}"] if resumed != [False, True] else []
        broken += [f"charged {charged}, billed {billed}"] if charged < billed else []
        return Verdict(billed=billed, charged=charged, broken=tuple(broken))
