"""A wall clock that jumps while requests are under way: nothing is booked twice, nothing is lost, nothing goes over."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime, timedelta
from pathlib import Path

from crewcap.core.budget import ALL
from crewcap.core.money import ZERO, Money
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores import Limit
from crewcap.stores.sqlite.ledger import SqliteLedger
from torture.books import new_key, now
from torture.clients import crowd
from torture.dying import Orders, gateway_for
from torture.kills import SCRIPT
from torture.law import Verdict, judge
from torture.talk import Talk

JUMPS = (timedelta(minutes=-11), timedelta(minutes=11), timedelta(hours=-30), timedelta(days=3), timedelta(minutes=5))


class Clock:
    """The wall clock, and how far it is off."""

    def __init__(self) -> None:
        self.off = timedelta()

    def __call__(self) -> datetime:
        return now() + self.off


def run(seed: int, talk: Talk, folder: Path) -> Verdict:
    """One jump in the middle of a crowd, accepted by an operator or not."""
    return asyncio.run(_run(random.Random(seed), talk, Home(folder / f"clock-{seed}")))


async def _run(chance: random.Random, talk: Talk, home: Home) -> Verdict:
    home.make()
    clock = Clock()
    ledger = SqliteLedger(home, clock=clock, monotonic=time.monotonic)
    provider_key = f"sk-fake-{chance.randrange(2**32)}"
    try:
        ledger.set_limit(Limit(scope=ALL, window="day", amount=Money.usd("0.20"), source="command"))
        key = new_key(ledger, cap="0.50")
        async with Simulator(SCRIPT) as simulator:
            orders = Orders(home=home.root, provider=simulator.url, key=provider_key, family=talk.family)
            async with gateway_for(home, ledger, orders) as gateway:
                await _jump(gateway, ledger, clock, chance, key.secret, talk)
            await simulator.idle()
            billed = simulator.meter.by_key.get(provider_key, ZERO)
        return judge(ledger, billed)
    finally:
        ledger.close()


async def _jump(
    gateway: Gateway, ledger: SqliteLedger, clock: Clock, chance: random.Random, secret: str, talk: Talk
) -> None:
    asking = asyncio.create_task(crowd(gateway.url, secret, talk, chance=chance, clients=4, each=4))
    await asyncio.sleep(chance.uniform(0.0, 0.05))
    clock.off = chance.choice(JUMPS)
    await asyncio.sleep(0.02)
    if chance.random() < 0.5:
        await gateway.service.purse.do(ledger.accept_clock)
    await asking
