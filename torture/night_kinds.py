"""The kinds of rounds: deaths at points and at random moments, ends by word, quick starts, and cut answers."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from crewcap.core.runs import RunState
from torture.night_points import POINTS, Point
from torture.night_processes import start_of
from torture.night_round import RUNS, STRIKE_S, WHOLE, Round
from torture.night_site import crewcap_fate
from torture.night_town import DRAIN_S

VICTIMS: Sequence[tuple[str, ...]] = (
    ("worker",),
    ("worker",),
    ("gateway",),
    ("worker", "gateway"),
    ("supervisor",),
    WHOLE,
)
_OPEN = frozenset({RunState.QUEUED, RunState.PREPARING, RunState.RUNNING, RunState.FINISHING})
_POOR = "0.006"  # a cap for one request and not for three


def at_points(night: Round) -> None:
    """A death at each of a few named points, in the order of a run's life, and at random moments in between."""
    chance, names = night.chance, night.name.split(",")
    first = POINTS[names[0]]
    if first.at_start:
        night.hand_over()
    else:
        night.begin()
        night.town.ready()
        night.arm(names[0], passes=chance.randrange(1, first.passes + 1), victims=_victims(chance, first))
        night.hand_over()
        night.await_death()
        names = names[1:]
    for name in names:
        if night.is_over():
            night.told.append(f"{name}: too late")
            continue
        if POINTS[name].at_start and night.is_alive():
            night.strike("before it", WHOLE, rise=False)
        night.arm(name, passes=1, victims=_victims(chance, POINTS[name]))
        night.rise()
        night.await_death()
        if chance.random() < 0.25:
            time.sleep(chance.uniform(0.0, 2.0))
            night.die_now(chance.choice(VICTIMS))


def moments(night: Round) -> None:
    """Deaths at random moments alone."""
    night.begin()
    night.town.ready()
    night.hand_over()
    for _ in range(night.chance.randrange(2, 5)):
        time.sleep(night.chance.uniform(0.0, 2.5))
        night.die_now(night.chance.choice(VICTIMS))


def term(night: Round) -> None:
    """It is told to end in the middle of everything, with little time to drain."""
    _told_to_end(night, lambda: None)


def group(night: Round) -> None:
    """Everybody is told to end at once, agents as well, as a service manager does."""

    def tell_everybody() -> None:
        assert night.town.serve is not None
        pid = night.town.serve.pid
        for member, _ in crewcap_fate.family(pid, start_of(pid))[1:]:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGTERM)

    _told_to_end(night, tell_everybody)


def loop(night: Round) -> None:
    """Ten starts, each killed before it could do much."""
    night.hand_over()
    night.begin()
    for number in range(10):
        time.sleep(night.chance.uniform(0.1, 3.0))
        night.strike(f"start {number + 1}", WHOLE)


def answer(night: Round) -> None:
    """One run waits for money; who answers dies between the answer and the queue, and the serve dies as well."""
    town = night.town
    night.begin()
    town.ready()
    night.hand_over(first_cap=_POOR)
    name = night.runs[0].name
    if not town.until(lambda: night.states()[name] == RunState.WAITING, STRIKE_S):
        night.faults.append(f"{name} did not come to wait: {night.states()[name]}")
        return
    _answer_and_die(night, name)
    night.die_now(night.chance.choice(VICTIMS))
    town.ready()
    done = town.perform("resume", name, "--add", "0.50")
    night.since = time.monotonic()  # it was let go on by then
    if done.returncode:
        night.faults.append(f"resume after it: {done.returncode} {done.stdout[-300:]} {done.stderr[-300:]}")


def _answer_and_die(night: Round, name: str) -> None:
    town = night.town
    town.arm("answer.after", passes=1, victims=["self"])
    died = town.perform("resume", name, "--add", "0.50")
    town.disarm()
    night.kills += 1
    night.told.append("answer.after: resume")
    asked = town.runs.find(name)[0]
    is_cut = died.returncode == -signal.SIGKILL and asked.state == RunState.WAITING
    if not is_cut or asked.question is None or asked.question.is_open:
        night.faults.append(f"resume was to die with its answer given: {died}, {asked.state}, {asked.question}")


KINDS: dict[str, Callable[[Round], None]] = {
    "moment": moments,
    "term": term,
    "group": group,
    "loop": loop,
    "answer": answer,
}


def _victims(chance: random.Random, point: Point) -> tuple[str, ...]:
    """Most often the one who passes the point."""
    own = (point.where,)
    return own if chance.random() < 0.5 else chance.choice(VICTIMS)


def _told_to_end(night: Round, also: Callable[[], None]) -> None:
    town = night.town
    night.begin()
    town.ready()
    night.hand_over()
    time.sleep(night.chance.uniform(0.5, 5.0))
    began = time.monotonic()
    also()
    status = town.end(signal.SIGTERM, DRAIN_S + 15)
    took_s = time.monotonic() - began
    night.told.append(f"SIGTERM: exit {status} after {took_s:.1f} s")
    if status != 0 or took_s > DRAIN_S + 5:
        night.faults.append(f"told to end: exit {status} after {took_s:.1f} s: {night.tail()}")
    lost = {name: state for name, state in night.states().items() if state not in {RunState.DONE, *_OPEN}}
    if lost or len(night.states()) != RUNS:
        night.faults.append(f"after a clean end these cannot be gone on with: {lost} of {night.states()}")
    if not town.until(lambda: not town.everybody(), 2):
        night.faults.append(f"after a clean end these are alive: {town.everybody()}")
    night.begin()
