"""The provider's connection cut after every byte of an answer, and the client's: all through the real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp

from crewcap.core.money import Money
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores import Ledger
from torture.books import Key, new_key, open_books
from torture.clients import GONE
from torture.dying import Orders, gateway_for
from torture.kills import SCRIPT
from torture.law import Verdict, judge
from torture.recorded import Player, Recording, record
from torture.talk import Talk

TEXT = "Tell me whether it holds."
SIDES = ("provider", "client")


async def recording_of(talk: Talk) -> Recording:
    """One answer of the scripted provider to this family's question."""
    step = replace(SCRIPT.steps[0], events=3, output_tokens=40)
    async with Simulator(replace(SCRIPT, steps=(step,))) as simulator:
        return await record(simulator, talk, text=TEXT)


def run(talk: Talk, recording: Recording, *, side: str, cuts: Sequence[int], folder: Path) -> Verdict:
    """Cut this side's connection after each of so many bytes; one ledger for all of them."""
    return asyncio.run(_run(talk, recording, side=side, cuts=cuts, home=Home(folder / f"cuts-{talk.name}-{side}")))


async def _run(talk: Talk, recording: Recording, *, side: str, cuts: Sequence[int], home: Home) -> Verdict:
    home.make()
    ledger = open_books(home)
    player = Player(recording)
    faults: list[str] = []
    try:
        async with player.open(), aiohttp.ClientSession() as http:
            orders = Orders(home=home.root, provider=player.url, key="sk-fake", family=talk.family)
            async with gateway_for(home, ledger, orders) as gateway:
                for cut in cuts:
                    faults += await _cut(gateway, http, player, talk, ledger, side=side, after=cut)
        return judge(ledger, Money(recording.cost.nano * player.asked), faults=faults)
    finally:
        ledger.close()


async def _cut(
    gateway: Gateway, http: aiohttp.ClientSession, player: Player, talk: Talk, ledger: Ledger, *, side: str, after: int
) -> list[str]:
    """One request with a key of its own, cut after so many bytes; what is wrong with what was booked for it."""
    purse = gateway.service.purse
    key = await purse.do(partial(new_key, ledger, cap="1.00"))
    player.cut, before = (after if side == "provider" else None), player.asked
    await _ask(http, gateway.url, key, talk, leave_after=after if side == "client" else None)
    await asyncio.gather(*(exchange.over.wait() for exchange in tuple(gateway.service.exchanges)))
    totals = await purse.do(ledger.totals, key.scope)
    billed = Money(player.recording.cost.nano * (player.asked - before))
    charged = totals.spent + totals.uncertain
    is_true = charged >= billed if side == "provider" else totals.spent == billed and charged == billed
    return [] if is_true else [f"byte {after}: {billed.exact()} was billed and {charged.exact()} is charged"]


async def _ask(http: aiohttp.ClientSession, url: str, key: Key, talk: Talk, *, leave_after: int | None) -> None:
    path, body = talk.request(stream=True, text=TEXT)
    try:
        async with http.post(url + path, json=body, headers=talk.headers(key.secret)) as answer:
            if leave_after is None:
                await answer.read()
            elif leave_after:
                await answer.content.readexactly(leave_after)
    except GONE:
        return
