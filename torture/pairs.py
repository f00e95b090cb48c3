"""Two gateways on one ledger, one of which dies: the other goes on, and no limit is passed by the two together."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import replace
from pathlib import Path

from crewcap.core.money import ZERO
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores import Ledger
from torture.books import new_key, open_store
from torture.clients import crowd
from torture.dying import Orders
from torture.kills import LONGEST_S, started
from torture.law import Verdict, judge
from torture.points import POINTS
from torture.talk import Talk

SETTLED = "the other gateway did not end properly"


def run(seed: int, talk: Talk, simulator: Simulator, folder: Path, *, store: str = "") -> Verdict:
    """A crowd at both; one dies at some point, the other is told to end."""
    chance = random.Random(seed)
    home = Home(folder / f"pair-{seed}")
    home.make()
    ledger = open_store(home, store)
    key = new_key(ledger, cap=chance.choice(("0.05", "0.20")))
    ledger.close()
    provider_key = f"sk-fake-{secrets.token_hex(8)}"
    steady = Orders(home=home.root, provider=simulator.url, key=provider_key, family=talk.family, store=store)
    mortal = replace(steady, point=chance.choice(tuple(POINTS)), passes=chance.randrange(1, 4))
    with started(steady) as (lives, one), started(mortal) as (dies, other):
        asyncio.run(_crowds((one, other), key.secret, talk, chance))
        was_killed = not dies.is_alive()
        for process in (dies, lives):
            if process.is_alive():
                process.terminate()
            process.join(LONGEST_S)
        faults = [SETTLED] if lives.exitcode != 0 else []
    simulator.idle_in_thread(LONGEST_S)
    return replace(_judged(open_store(home, store), simulator, provider_key, faults), struck=was_killed)


async def _crowds(urls: tuple[str, str], secret: str, talk: Talk, chance: random.Random) -> None:
    await asyncio.gather(
        *(crowd(url, secret, talk, chance=random.Random(chance.random()), clients=3, each=4) for url in urls)
    )


def _judged(ledger: Ledger, simulator: Simulator, provider_key: str, faults: list[str]) -> Verdict:
    try:
        ledger.stop_boot(ledger.start_boot())  # as the next gateway does: what the dead one held becomes uncertain
        return judge(ledger, simulator.meter.by_key.get(provider_key, ZERO), faults=faults)
    finally:
        ledger.close()
