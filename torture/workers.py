"""Many workers on one PostgreSQL, to which something happens: each run has one agent at a time, and comes to its end.

The agent is a small program that keeps a diary; the workers have times that are shorter than in earnest.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runner.worker.fleet import Fleet, a_fleet, overlapping
from tests.runner.worker.place_watch import Seen, watching
from tests.stores.postgres_server import Server
from tests.workspaces.repos import git

from crewcap.core.runs import Run, RunState
from crewcap.prices import Book
from crewcap.runner.worker.fencing import place_of
from torture.fleet_table import FleetRow
from torture.law import judge
from torture.night_processes import words_of
from torture.worker_deaths import Cut, Scene, Trouble

REPOSITORIES = 4
LIMITS = {"all": 5, **{f"repo:r{number}": 2 for number in range(REPOSITORIES)}}
SETTINGS = "[slots]\nall = 5\nrepo = 2\n"
SECONDS = (0, 0.2, 0.5, 1, 4)  # that an agent works
LONGEST_S = 1_800.0
_SOON_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """So many runs over so many machines, and what happens to those."""

    part: str
    seed: int
    workers: int
    runs: int
    trouble: Trouble
    seconds: tuple[float, ...] = SECONDS


def run(trial: Trial, folder: Path, server: Server, book: Book) -> FleetRow:
    """From the first machine's start until all have ended."""
    place = folder / f"{trial.part}-{trial.seed}-{trial.workers}"
    place.mkdir()
    began, chance = time.monotonic(), random.Random(trial.seed)
    with a_fleet(place, server, book, settings=SETTINGS) as fleet, watching(fleet.url, LIMITS) as seen:
        machines = fleet.ready(*(f"m{number}" for number in range(trial.workers)))
        scene = Scene(fleet=fleet, machines=machines, chance=chance)
        with _two_at_once(fleet) as doubled, ThreadPoolExecutor(1) as pool:
            for number in range(trial.runs):
                fleet.add(f"run-{number}", f"seconds={chance.choice(trial.seconds)}", repo=f"r{number % REPOSITORIES}")
            striking = pool.submit(trial.trouble, scene)
            fleet.until(lambda: not fleet.still_open() and striking.done(), "all have ended", limit_s=LONGEST_S)
            fleet.until(lambda: not seen.now, "all places are given back", limit_s=_SOON_S)
        fleet.end_machines()
        broken = [*_of_trouble(striking), *doubled, *sorted(set(seen.wrong)), *_broken(fleet, trial.runs)]
        return _row(trial, scene, seen, broken, seconds=time.monotonic() - began)


def _row(trial: Trial, scene: Scene, seen: Seen, broken: Sequence[str], *, seconds: float) -> FleetRow:
    places = {run.id: place_of(run.worker) for run in scene.fleet.runs()}
    stayed = sum(places.get(cut.run) == cut.place for cut in scene.cuts)
    return FleetRow(
        part=trial.part,
        name=f"{trial.workers}",
        seed=trial.seed,
        runs=trial.runs,
        happened=", ".join(f"{count} times {what}" for what, count in sorted(scene.happened.items())),
        cut_short=len(scene.cuts),
        stayed=stayed,
        moved=len(scene.cuts) - stayed,
        longest_s=max(_waited(scene.fleet, scene.cuts), default=0.0),
        agents=len(scene.fleet.lines("start")),
        seen=seen,
        seconds=seconds,
        struck=bool(scene.happened),
        broken=tuple(broken),
    )


def _waited(fleet: Fleet, cuts: Sequence[Cut]) -> Iterator[float]:
    """From each end of a worker until an agent of its run worked again; one that was at its end needed none."""
    sessions = {run.id: run.session for run in fleet.runs()}
    starts = fleet.lines("start")
    for cut in cuts:
        later = [line["at"] for line in starts if line["session"] == sessions[cut.run] and line["at"] > cut.at]
        if later:
            yield min(later) - cut.at


def _of_trouble(striking: Future[None]) -> list[str]:
    """Trouble that could not be made is a fault as well: a machine that does not start again."""
    error = striking.exception()
    return [f"the trouble ended with {error!r}"] if error else []


def _broken(fleet: Fleet, wanted: int) -> list[str]:
    """What was broken, and the money on both sides."""
    fleet.simulator.idle_in_thread()
    ended, lines = fleet.runs(), fleet.lines()
    begun = Counter(line["session"] for line in lines if line["what"] == "start")
    found = [f"{len(ended)} runs of {wanted}"] if len(ended) != wanted else []
    for it in ended:
        found += _of_run(it, begun[it.session])
    found += [f"two agents at once in session {session}, by the diary" for session in overlapping(lines)]
    found += [f"agents that live: {fleet.at_work()}"] if fleet.at_work() else []
    found += _of_branches(fleet, ended)
    return list(judge(fleet.app.ledger, fleet.simulator.meter.total(), faults=found).broken)


def _of_run(it: Run, agents: int) -> Iterator[str]:
    if it.state != RunState.DONE:
        yield f"{it.name} is {it.state}: {it.reason}"
    if not 1 <= agents <= it.attempt:
        yield f"{it.name} had {agents} agents in {it.attempt} attempts"


def _of_branches(fleet: Fleet, ended: Sequence[Run]) -> Iterator[str]:
    """Each run has one of its own, and the user's repository has no other."""
    there = set(git(fleet.user, "for-each-ref", "--format=%(refname:short)", "refs/heads/crewcap").split())
    named = Counter(it.branch for it in ended)
    yield from (f"branch {name} was taken {count} times" for name, count in named.items() if count > 1)
    yield from (f"branch {name} is not in the repository" for name in named.keys() - there)
    yield from (f"branch {name} is no run's" for name in there - named.keys())


@contextmanager
def _two_at_once(fleet: Fleet) -> Iterator[list[str]]:
    """Look at the agents' processes ten times a second; what was wrong."""
    wrong: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            alive = Counter(line["session"] for line in fleet.lines("start") if _lives(line))
            wrong.extend(f"{count} agents live in session {session}" for session, count in alive.items() if count > 1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield wrong
    finally:
        over.set()
        thread.join()


def _lives(line: dict[str, Any]) -> bool:
    return line["session"].encode() in words_of(line["pid"]).split(b"\0")
