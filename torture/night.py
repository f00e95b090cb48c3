"""`python -m torture night`: the real `crewcap serve` is killed with five runs alive, and loses nothing.

A round is a fresh town: five runs are handed over, and then somebody dies, most often at named points. What is killed
is drawn: the worker, the gateway, the supervisor, or several of them. Whoever is supervised is started again by its
supervisor, and the supervisor by us, as systemd does. Within 30 s of the last start all runs must have ended well;
then the serve is told to end, and the law (`night_law.py`) is checked.

    python -m torture night --seed 7 --kills 200      long form
    python -m torture night --round NAME --seed S     one round again, as its line says
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

from crewcap.simulator.server import Simulator
from torture.night_eyes import Eyes
from torture.night_kinds import KINDS, at_points
from torture.night_law import judge_night
from torture.night_points import POINTS
from torture.night_round import RECOVERED_S, RUNS, Round
from torture.night_table import Result, section, summary
from torture.night_town import SCRIPT, Town
from torture.page import keep

POINTS_EACH = 3
OTHERS = ("moment", "moment", "moment", "term", "term", "group", "group", "loop", "answer", "answer")
SHORT = ("admit.after,settle.before,publish.after", "step.agent.before,fetch.after,mend.before", "term", "answer")


def play(name: str, seed: int, simulator: Simulator, *, within_s: float = RECOVERED_S, keep: bool = False) -> Result:
    """One round."""
    folder = Path(tempfile.mkdtemp(prefix="crewcap-night-"))
    folder.chmod(0o755)  # the agent's program is in it, and agents are other users
    town = Town(root=folder, simulator=simulator)
    is_clean = False
    try:
        town.set_up(RUNS)
        with Eyes().open() as eyes:
            night = Round(name=name, seed=seed, town=town, eyes=eyes, chance=random.Random(seed))
            KINDS.get(name, at_points)(night)
            night.finish(within_s)
            found = judge_night(town, night.runs, eyes, exact=not night.gateway_kills, faults=night.faults)
        is_clean = not found.broken
        return Result(
            name=name,
            seed=seed,
            kills=night.kills,
            told=tuple(night.told),
            struck=tuple(night.struck),
            recovered_s=night.recovered_s,
            slowest_end_s=eyes.slowest_end_s,
            night=found,
        )
    finally:
        town.close()
        if not (keep and not is_clean):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"left for a look: {folder}", flush=True)


def rounds(chance: random.Random, *, is_short: bool) -> Iterator[tuple[str, int]]:
    """Names and seeds of rounds, without an end in the long form: each point again and again, others in between."""
    names = SHORT if is_short else _names(chance)
    yield from ((name, chance.randrange(2**32)) for name in names)


def _names(chance: random.Random) -> Iterator[str]:
    order = list(POINTS)
    while True:
        deck = chance.sample(order, len(order))
        hands = [sorted(deck[at : at + POINTS_EACH], key=order.index) for at in range(0, len(deck), POINTS_EACH)]
        names = [",".join(hand) for hand in hands]
        yield from chance.sample([*names, *OTHERS], len(names) + len(OTHERS))


def main(words: Sequence[str]) -> int:
    """The command; 1 where the law was broken."""
    parser = argparse.ArgumentParser(prog="python -m torture night", description="What a night's serve lives through.")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a night, or with --round a round")
    parser.add_argument("--kills", type=int, default=200, help="how many deaths it takes")
    parser.add_argument("--short", action="store_true", help="a few rounds, for the CI")
    parser.add_argument("--round", default="", metavar="NAME", help="this one alone: points, or " + ", ".join(KINDS))
    parser.add_argument("--within", type=float, default=RECOVERED_S, metavar="S", help="how soon all is to be well")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="rounds beside each other")
    parser.add_argument("--keep", action="store_true", help="leave the folder of a round that broke the law")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table in this page")
    options = parser.parse_args(words)
    logging.disable()
    chance = random.Random(options.seed)
    plan = iter([(options.round, options.seed)]) if options.round else rounds(chance, is_short=options.short)
    print(f"seed {options.seed}", flush=True)
    results: list[Result] = []
    for result in _played(plan, options.at_once, within_s=options.within, keep=options.keep):
        results.append(result)
        kills = sum(each.kills for each in results)
        print(f"{len(results):3} {kills:4} kills  {result.line()}", flush=True)
        if options.write:  # after each round: a night that is ended has told what it saw
            keep(options.write, section(results, seed=options.seed, within_s=options.within, at=datetime.now(UTC)))
        if kills >= options.kills:
            break
    print(summary(results), flush=True)
    return 1 if any(result.broken for result in results) else 0


def _played(plan: Iterator[tuple[str, int]], at_once: int, *, within_s: float, keep: bool) -> Iterator[Result]:
    """Rounds as they end, several at once; those that have begun are waited for."""
    going: set[Future[Result]] = set()
    with Simulator.in_thread(SCRIPT) as simulator, ThreadPoolExecutor(at_once) as pool:
        for name, seed in plan:
            going.add(pool.submit(play, name, seed, simulator, within_s=within_s, keep=keep))
            if len(going) >= at_once:
                done, going = wait(going, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        yield from (each.result() for each in going)
