"""A hold whose request is not sent after all is given back: nothing stays charged for what no provider saw."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from crewcap.core.money import ZERO
from crewcap.gateway.front.endpoints import Endpoints
from crewcap.simulator.script import Script, Step
from crewcap.wire.anthropic import Anthropic

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker


class Broken(Anthropic):
    """A dialect that reads a body and cannot write it."""

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        raise RuntimeError(f"{len(body)} {max_output}")


async def nothing_was_sent(r: Rig) -> None:
    await r.settled()
    assert r.simulator.meter.total() == ZERO
    assert r.balance().held == ZERO
    assert r.charged() == ZERO


def test_a_body_that_cannot_be_written_gives_its_hold_back(rig: RigMaker) -> None:
    """An error of our own between hold and sending must not keep the money until the gateway ends."""

    async def main() -> None:
        async with rig() as r:
            service = r.gateway.service
            (endpoint,) = service._endpoints.every
            service._endpoints = Endpoints([replace(endpoint, dialect=Broken())])
            assert (await r.post(r.request()))[0] == 503
            await nothing_was_sent(r)
            assert [entry.kind for entry in r.entries()] == ["released"]

    asyncio.run(main())


def test_who_waits_for_money_is_not_sent_to_a_provider_that_was_frozen_meanwhile(rig: RigMaker) -> None:
    """An incident stops every capped key at once, also those that had asked before it."""
    slow = Script(name="slow", steps=(Step(name="one", say="Yes.", output_tokens=100, pace_ms=20),))

    async def main() -> None:
        async with rig(slow, cap="0.03", provider={"lie": "dearer-model"}) as r:
            answers = await asyncio.gather(*(r.post(r.request(stream=True)) for _ in range(4)))
            await r.settled()
            assert len(r.simulator.meter.bills) == 1
            refused = [json.loads(body)["error"]["message"] for status, _, body in answers if status == 402]
            assert len(refused) == 3
            assert all("broke" in message for message in refused)
            assert r.balance().held == ZERO

    asyncio.run(main())
