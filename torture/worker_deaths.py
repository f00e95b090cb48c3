"""What happens to workers while runs are live: a worker dies, a machine dies and comes back, all are upgraded."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.runner.worker.fleet import Fleet, Machine

from crewcap.core.runs import AT_WORK, RunId
from crewcap.runner.worker.fencing import place_at, place_of

NEWER = "wf-next"
_LONGEST_S = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A run that was at work where a worker ended."""

    run: RunId
    place: str
    at: float  # monotonic, as in the agents' diary


@dataclass(kw_only=True)
class Scene:
    """Machines at work, and what has happened to them."""

    fleet: Fleet
    machines: list[Machine]
    chance: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    cuts: list[Cut] = field(default_factory=list)

    def kill_worker(self, machine: Machine) -> None:
        """Its supervisor starts the next one."""
        try:
            os.kill(machine.worker(), signal.SIGKILL)
        except (OSError, ValueError, KeyError, json.JSONDecodeError):
            return  # between two workers
        self._note(machine, "a worker killed")

    def lose(self, machine: Machine, *, back_after_s: float) -> None:
        """Supervisor, gateway and worker at once; later the machine serves again."""
        machine.kill()
        self._note(machine, "a machine killed")
        time.sleep(back_after_s)
        self.fleet.serve(machine.name)

    def upgrade(self, machine: Machine, *, in_order: bool) -> None:
        """Its program is a newer one from now on."""
        if in_order:
            machine.end()
        else:
            machine.kill()
        self._note(machine, "a machine ended in order" if in_order else "a machine killed")
        self.fleet.serve(machine.name, version=NEWER)

    def _note(self, machine: Machine, what: str) -> None:
        now, place = time.monotonic(), place_at(machine.home)
        self.happened[what] += 1
        for run in self.fleet.still_open():
            if run.state in AT_WORK and place_of(run.worker) == place:
                self.cuts.append(Cut(run=run.id, place=place, at=now))


Trouble = Callable[[Scene], None]


def deaths(wanted: int) -> Trouble:
    """So many deaths, every few seconds from the first agent on."""

    def strike(scene: Scene) -> None:
        _wait_for_an_agent(scene)
        while scene.fleet.still_open():
            machine = scene.chance.choice(scene.machines)
            if scene.chance.random() < 0.7:
                scene.kill_worker(machine)
            else:
                scene.lose(machine, back_after_s=scene.chance.uniform(0, 8))
            if scene.happened.total() >= wanted:
                return
            time.sleep(scene.chance.uniform(2, 12))

    return strike


def upgrades(scene: Scene) -> None:
    """One machine after another gets the newer program: some are asked to end, some die."""
    _wait_for_an_agent(scene)
    for number, machine in enumerate(scene.machines):
        scene.upgrade(machine, in_order=number % 2 == 0)
        time.sleep(scene.chance.uniform(4, 8))


def _wait_for_an_agent(scene: Scene) -> None:
    scene.fleet.until(lambda: scene.fleet.lines("start"), "an agent began", limit_s=_LONGEST_S)
