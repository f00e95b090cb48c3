"""`kill -9` of the gateway: at every named point of a request's life, and at random moments.

One trial: a fresh home with a capped key, a crowd of clients, the death, another gateway on the same books that
answers once more and ends properly, and then the law.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from crewcap.core.money import ZERO
from crewcap.home import Home
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from torture.books import new_key, open_store
from torture.clients import crowd
from torture.dying import Orders, gateway_for, live
from torture.law import Verdict, judge
from torture.talk import TALKS, Talk

CAPS = ("0.02", "0.10", "0.50")
ONCE = frozenset({"drain", "stop", "refusal"})  # points that a gateway passes once, or rarely
ROUNDS = 4  # of the crowd, until the gateway is dead
LONGEST_S = 60
WARM = ("torture.dying",)

SCRIPT = Script(
    name="torture",
    steps=(Step(name="answer", say="Yes, and so on, and so forth, until the end of it.", output_tokens=300, events=8),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One death, as it can be repeated."""

    seed: int
    point: str = ""  # '' = at a random moment
    talk: Talk = TALKS[0]
    store: str = ""  # URL of a database; '' = a file
    is_sure: bool = False  # the first time that the point is passed, with money for many requests


@contextmanager
def provider() -> Iterator[Simulator]:
    """The scripted provider, in a thread of its own, with a little time between its events."""
    paced = replace(SCRIPT, steps=tuple(replace(step, pace_ms=1) for step in SCRIPT.steps))
    with Simulator.in_thread(paced) as simulator:
        yield simulator


def run(trial: Trial, simulator: Simulator, folder: Path) -> Verdict:
    """Live through one trial."""
    chance = random.Random(trial.seed)
    home = Home(folder / f"{trial.point or 'moment'}-{trial.talk.name}-{trial.seed}")
    home.make()
    secret = _key(home, trial.store, cap=CAPS[-1] if trial.is_sure else chance.choice(CAPS))
    provider_key = f"sk-fake-{secrets.token_hex(8)}"
    orders = Orders(
        home=home.root,
        provider=simulator.url,
        key=provider_key,
        family=trial.talk.family,
        store=trial.store,
        point=trial.point,
        passes=1 if trial.is_sure or trial.point in ONCE else chance.randrange(1, 5),
    )
    is_dead, died_badly = _die(trial, orders, secret, chance)
    faults = [*died_badly, *_rise(trial, orders, secret)]
    simulator.idle_in_thread(LONGEST_S)
    ledger = open_store(home, trial.store)
    try:
        verdict = judge(ledger, simulator.meter.by_key.get(provider_key, ZERO), faults=faults)
        return replace(verdict, struck=is_dead)
    finally:
        ledger.close()


def _die(trial: Trial, orders: Orders, secret: str, chance: random.Random) -> tuple[bool, list[str]]:
    """A crowd at a gateway that dies under it: whether it did, and what was wrong about its end."""
    with started(orders) as (process, url):
        if not trial.point:
            _later(chance.uniform(0.0, 0.12), process, signal.SIGKILL)
        elif trial.point in {"drain", "stop"}:
            _later(chance.uniform(0.01, 0.1), process, signal.SIGTERM)
        for _ in range(ROUNDS):
            clients, each = chance.randrange(2, 7), chance.randrange(1, 4)
            asyncio.run(crowd(url, secret, trial.talk, chance=chance, clients=clients, each=each))
            if not process.is_alive():
                break
        if process.is_alive():  # the point was not passed often enough: then it ends in order
            _signal(process, signal.SIGTERM)
        process.join(LONGEST_S)
        is_alive, was_killed = process.is_alive(), process.exitcode == -signal.SIGKILL
    return was_killed, ["the gateway neither died nor ended"] if is_alive else []


def _rise(trial: Trial, orders: Orders, secret: str) -> list[str]:
    """The next gateway on the same books answers: with an answer, or because the money is gone."""

    async def main() -> list[int]:
        ledger = open_store(Home(orders.home), orders.store)
        try:
            async with gateway_for(Home(orders.home), ledger, orders) as gateway:
                return await crowd(gateway.url, secret, trial.talk, chance=random.Random(1), clients=1, each=2)
        finally:
            ledger.close()

    statuses = asyncio.run(main())
    strange = [status for status in statuses if status not in {0, 200, 400, 402}]
    return [f"the next gateway answered {strange}"] if strange else []


@contextmanager
def started(orders: Orders) -> Iterator[tuple[BaseProcess, str]]:
    """A gateway in a process of its own, and its address; it is gone at the end, whatever happens."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(WARM))
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=live, args=(orders, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, _told(ours)
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
        process.join()


def _told(connection: Connection[Any, Any]) -> str:
    if not connection.poll(LONGEST_S):
        raise TimeoutError("the gateway did not start")
    return str(connection.recv())


def _later(seconds: float, process: BaseProcess, number: signal.Signals) -> None:
    def act() -> None:
        time.sleep(seconds)
        _signal(process, number)

    threading.Thread(target=act, daemon=True).start()


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is not None and process.is_alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _key(home: Home, store: str, *, cap: str) -> str:
    """A capped key in a fresh ledger; its secret."""
    ledger = open_store(home, store)
    try:
        return new_key(ledger, cap=cap).secret
    finally:
        ledger.close()
