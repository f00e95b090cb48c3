"""The kinds of trouble, each as rows of the table, in a short form and a long one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from tests.stores.postgres_server import serving

from crewcap.prices import load
from torture import clocks, cuts, kills, pairs, sick, upgrade, workers, zoo
from torture.fleet_table import FleetRow
from torture.points import POINTS
from torture.table import Row
from torture.talk import TALKS
from torture.worker_deaths import deaths, upgrades
from torture.workers import Trial
from torture.zoo import ZooRow

MOST_TRIES = 8  # for one that strikes: money may be gone before the point is passed


Outcome = Row | FleetRow | ZooRow


class Part(Protocol):
    """One kind of trouble."""

    def __call__(self, folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Outcome]:
        """Try it, row by row."""
        ...


def _kills(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    with kills.provider() as simulator:
        for point, meaning in POINTS.items():
            row = Row(part="kill -9", name=point, meaning=meaning)
            wanted = 1 if is_short else 20
            for number in range(MOST_TRIES * wanted):
                if row.struck >= wanted:
                    break
                seed, talk, is_late = chance.randrange(2**32), TALKS[number % len(TALKS)], number > wanted
                is_sure = is_late and point != "refusal"  # which comes where there is no money
                trial = kills.Trial(seed=seed, point=point, talk=talk, is_sure=is_sure)
                row.add(trial.seed, kills.run(trial, simulator, folder))
            yield row


def _moments(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    row = Row(part="kill -9", name="any moment", meaning="0 to 0.12 s after the first request")
    with kills.provider() as simulator:
        for number in range(10 if is_short else 200):
            trial = kills.Trial(seed=chance.randrange(2**32), talk=TALKS[number % len(TALKS)])
            row.add(trial.seed, kills.run(trial, simulator, folder))
    yield row


def _cuts(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    for talk in TALKS:
        recording = asyncio.run(cuts.recording_of(talk))
        for side in cuts.SIDES:
            ends = range(len(recording.wire) if side == "provider" else len(recording.wire) - recording.head)
            tried = chance.sample(ends, 24) if is_short else ends
            row = Row(part="cut", name=f"{talk.name}, {side}", meaning=f"after each of {len(ends)} bytes of a stream")
            verdict = cuts.run(talk, recording, side=side, cuts=tried, folder=folder)
            row.add(0, verdict, trials=len(tried))
            yield row


def _books(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    for sickness in sick.SICK:
        row = Row(part="books", name=f"{sickness}, each call", meaning=f"{len(sick.CALLS)} calls of the ledger")
        for name in sick.CALLS:
            row.add(0, sick.call(name, sickness, folder))
        yield row
        row = Row(part="books", name=f"{sickness}, at work", meaning="0.1 s in the middle of a crowd")
        for number in range(2 if is_short else 40):
            seed = chance.randrange(2**32)
            row.add(seed, sick.at_work(sickness, seed, TALKS[number % len(TALKS)], folder))
        yield row
    row = Row(part="books", name="damaged", meaning="bytes of the file overwritten between two starts")
    for _ in range(10 if is_short else 200):
        seed = chance.randrange(2**32)
        row.add(seed, sick.damaged(seed, folder))
    yield row


def _clocks(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    row = Row(part="clock", name="jumps", meaning="from -30 h to +3 days in the middle of a crowd")
    for number in range(4 if is_short else 100):
        seed = chance.randrange(2**32)
        row.add(seed, clocks.run(seed, TALKS[number % len(TALKS)], folder))
    yield row


def _pairs(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    row = Row(part="two gateways", name="one dies", meaning="on one ledger, with one cap")
    with kills.provider() as simulator:
        for number in range(4 if is_short else 100):
            seed = chance.randrange(2**32)
            row.add(seed, pairs.run(seed, TALKS[number % len(TALKS)], simulator, folder))
    yield row


def _database(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[Row]:
    """The same deaths with the books in PostgreSQL; one gateway's, and one of two."""
    alone = Row(part="PostgreSQL", name="kill -9 anywhere", meaning="at a named point or at any moment")
    pair = Row(part="PostgreSQL", name="two gateways, one dies", meaning="on one ledger, with one cap")
    with kills.provider() as simulator, serving() as server:
        for number in range(4 if is_short else 100):
            seed, talk = chance.randrange(2**32), TALKS[number % len(TALKS)]
            point = chance.choice(("", *POINTS))
            trial = kills.Trial(seed=seed, point=point, talk=talk, store=server.migrated())
            alone.add(seed, kills.run(trial, simulator, folder))
            pair.add(seed, pairs.run(seed, talk, simulator, folder, store=server.migrated()))
    yield alone
    yield pair


def _workers(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[FleetRow]:
    """Runs over several machines; the suite has more of the short form."""
    runs, wanted, seconds = (5, 1, (0.2, 1)) if is_short else (200, 12, workers.SECONDS)
    with serving() as server:
        for count in (2,) if is_short else (2, 3):
            seed = chance.randrange(2**32)
            struck = deaths(wanted)
            trial = Trial(part="workers", seed=seed, workers=count, runs=runs, trouble=struck, seconds=seconds)
            yield workers.run(trial, folder, server, load())


def _upgrade(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[FleetRow]:
    """One machine after another, and from the version before, which is laid out anew; no part of the short form."""
    if is_short:
        return
    long = (2, 4, 8)  # so that each machine has some at work when its turn comes
    with serving() as server:
        seed = chance.randrange(2**32)
        trial = Trial(part="upgrade", seed=seed, workers=3, runs=60, trouble=upgrades, seconds=long)
        yield workers.run(trial, folder, server, load())
    yield upgrade.run(folder, load())


def _zoo(folder: Path, chance: random.Random, *, is_short: bool) -> Iterator[ZooRow]:
    """Its short form is tests/e2e/test_zoo.py."""
    del chance
    if not is_short:
        yield from zoo.run(folder)


PARTS: Mapping[str, Part] = {
    "kills": _kills,
    "moments": _moments,
    "cuts": _cuts,
    "books": _books,
    "clocks": _clocks,
    "pairs": _pairs,
    "database": _database,
    "workers": _workers,
    "upgrade": _upgrade,
    "zoo": _zoo,
}
