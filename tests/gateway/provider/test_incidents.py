"""An incident outlives the gateway that saw it; somebody's word ends it everywhere."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import TYPE_CHECKING

from crewcap.core.money import ZERO

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker

LIE = {"lie": "dearer-model"}


async def incident(r: Rig) -> None:
    """One answer that names a dearer model than was held for."""
    status, _, _ = await r.post(r.request())
    assert status == 200
    await r.settled()


async def refused(r: Rig) -> str:
    status, _, body = await r.post(r.request("again"))
    assert status == 402
    return str(json.loads(body)["error"]["message"])


def test_an_incident_is_written_down_and_its_refusal_names_the_remedy(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(provider=LIE) as r:
            await incident(r)
            await r.until(lambda: bool(r.ledger.frozen()))
            assert "dearer price" in r.ledger.frozen()[0].reason
            assert (await refused(r)).endswith("when you have looked: crewcap ledger thaw anthropic")

    asyncio.run(main())


def test_a_gateway_that_starts_later_knows_it(rig: RigMaker) -> None:
    """A run whose own gateway saw it may not be followed by one that has forgotten."""

    async def main() -> None:
        async with rig(provider=LIE) as first:
            await incident(first)
        async with rig(provider=LIE) as second:
            sent = len(second.simulator.log.records)
            await refused(second)
            assert len(second.simulator.log.records) == sent

    asyncio.run(main())


def test_somebodys_word_in_the_books_ends_it_in_a_running_gateway(rig: RigMaker) -> None:
    """`crewcap ledger thaw` writes to the ledger; no gateway has to be found for it."""

    async def main() -> None:
        async with rig(provider=LIE, look_s=0.01) as r:
            await incident(r)
            await r.until(lambda: bool(r.ledger.frozen()))
            await refused(r)
            assert r.ledger.thaw("anthropic", word="the price list was old")
            await r.until(lambda: not r.gateway.freezer.all())
            r.simulator.lie = ""
            assert (await r.post(r.request()))[0] == 200

    asyncio.run(main())


def test_another_gateways_incident_freezes_here(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(look_s=0.01) as r:
            r.ledger.freeze("anthropic", reason="seen by another gateway")
            await r.until(lambda: bool(r.gateway.freezer.all()))
            assert "seen by another gateway" in await refused(r)
            assert r.charged() == ZERO

    asyncio.run(main())


def test_a_key_without_a_limit_is_not_held_back(rig: RigMaker) -> None:
    """Incidents are about promises to capped keys; nobody promised a bound to this one."""

    async def main() -> None:
        async with rig() as r:
            r.ledger.freeze("anthropic", reason="seen by another gateway")
            await r.gateway.incidents.follow()
            free = r.new_key(None, capped=False)
            assert (await r.post(r.request(), key=free))[0] == 200

    asyncio.run(main())


def test_the_control_socket_thaws_in_memory_and_in_the_books(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(provider=LIE) as r:
            await incident(r)
            assert await r.gateway.thaw("anthropic")
            assert not r.gateway.freezer.all()
            assert r.ledger.frozen() == ()
            assert not await r.gateway.thaw("anthropic")

    asyncio.run(main())


def test_what_the_ledger_cannot_take_yet_stays_frozen_and_is_written_later(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(provider=LIE, busy_s=0.01, look_s=60) as r:
            lock = sqlite3.connect(r.home.ledger, isolation_level=None)
            status, _, _ = await r.post(r.request())
            assert status == 200
            await r.settled()
            await r.until(lambda: bool(r.ledger.frozen()))
            r.ledger.thaw("anthropic", word="")
            lock.execute("BEGIN IMMEDIATE")
            trouble = r.gateway.freezer.all()["anthropic"][0]
            r.gateway.incidents.saw("anthropic", trouble)
            await r.gateway.incidents.follow()
            assert r.gateway.freezer.all()
            lock.execute("ROLLBACK")
            lock.close()
            await r.gateway.incidents.follow()
            await r.until(lambda: bool(r.ledger.frozen()))
            assert r.gateway.freezer.all()

    asyncio.run(main())
