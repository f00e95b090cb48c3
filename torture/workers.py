"""Many workers on one PostgreSQL, some of which are killed: each run has one agent at a time, and comes to its end.

The agent is a small program that keeps a diary; the workers have times that are ten times shorter than in earnest.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.runner.worker.fleet import Fleet, Machine, Slots, a_fleet, overlapping
from tests.stores.postgres_server import Server

from crewcap.core.budget import ALL
from crewcap.core.runs import RunState
from crewcap.prices import Book
from torture.law import Verdict

LIMITS = {"all": 5, **{f"repo:r{number}": 2 for number in range(4)}}
SETTINGS = "[slots]\nall = 5\nrepo = 2\n"
LONGEST_S = 1_800.0


def run(seed: int, folder: Path, server: Server, book: Book, *, workers: int, runs: int, kills: int) -> Verdict:
    """So many runs over so many machines, with so many deaths."""
    chance = random.Random(seed)
    place = folder / f"fleet-{seed}-{workers}"
    place.mkdir()
    with a_fleet(place, server, book, settings=SETTINGS) as fleet:
        machines = [fleet.serve(f"m{number}") for number in range(workers)]
        slots = Slots(fleet, LIMITS)
        with fleet.watched(slots.look) as wrong:
            for number in range(runs):
                task = f"seconds={chance.choice((0, 0.2, 0.5, 1))}"
                fleet.add(f"run-{number}", task, repo=f"r{number % 4}")
            killed: list[str] = []
            killer = threading.Thread(target=_kill, args=(fleet, machines, chance, kills, killed), daemon=True)
            killer.start()
            fleet.until(lambda: not fleet.still_open(), "all have ended", limit_s=LONGEST_S)
            killer.join()
        return _judged(fleet, wrong, struck=bool(killed))


def _kill(fleet: Fleet, machines: list[Machine], chance: random.Random, kills: int, killed: list[str]) -> None:
    """A worker, or a whole machine that comes back later; once the first agent works, every few seconds."""
    fleet.until(lambda: fleet.lines("start"), "an agent began", limit_s=LONGEST_S)
    while len(killed) < kills and fleet.still_open():
        machine = chance.choice(machines)
        killed.append(machine.home.root.parent.name)
        if chance.random() < 0.7:
            with suppress(ProcessLookupError, OSError, ValueError):
                os.kill(machine.worker(), signal.SIGKILL)
        else:
            machine.kill()
            time.sleep(chance.uniform(0, 8))
            fleet.serve(machine.home.root.parent.name)
        time.sleep(chance.uniform(2, 12))


def _judged(fleet: Fleet, wrong: list[str], *, struck: bool) -> Verdict:
    """What was broken, and the money on both sides."""
    fleet.simulator.idle_in_thread()
    ended, lines = fleet.runs(), fleet.lines()
    begun = Counter(line["session"] for line in lines if line["what"] == "start")
    broken = sorted(set(wrong))
    broken += [f"{it.name} is {it.state}: {it.reason}" for it in ended if it.state != RunState.DONE]
    broken += [f"{it.name} has {begun[it.session]} agents in {it.attempt} attempts" for it in ended
               if begun[it.session] > it.epoch + it.attempt - 1 or not begun[it.session]]  # fmt: skip
    broken += [f"two agents at once in session {session}" for session in overlapping(lines)]
    broken += [f"agents that live: {fleet.at_work()}"] if fleet.at_work() else []
    twice = [name for name, count in Counter(it.branch for it in ended).items() if count > 1]
    broken += [f"branch {name} was taken twice" for name in twice]
    totals, billed = fleet.app.ledger.totals(ALL), fleet.simulator.meter.total()
    broken += list(fleet.app.ledger.verify().problems)
    charged = totals.spent + totals.uncertain + totals.held
    broken += [f"charged {charged}, billed {billed}"] if charged < billed else []
    return Verdict(struck=struck, charged=charged, billed=billed, broken=tuple(broken))
