"""The cap holds and is usable to the last cents, over real HTTP, with many clients at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from crewcap.core.money import Money
from crewcap.simulator.script import Script, Step, When

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker

COSTS = ("0.05", "0.12", "0.20", "0.31", "0.50")


def answers_that_cost(*costs: str, pace_ms: int = 1) -> Script:
    """A request says which answer it wants: `cost-0.20`."""
    import re  # noqa: PLC0415

    steps = tuple(
        Step(
            name=f"cost-{number}",
            when=When(task=re.compile(re.escape(f"cost-{cost} "))),
            say="Yes.",
            cost=Money.usd(cost),
            pace_ms=pace_ms,
        )
        for number, cost in enumerate(costs)
    )
    return Script(name="costs", steps=steps)


async def spend_until_refused(r: Rig, clients: int, body: Any) -> list[int]:
    """Each client asks again and again until it is refused for good; every status that was seen."""
    seen: list[int] = []

    async def client(number: int) -> None:
        for turn in range(60):
            status, headers, answer = await r.post(body(COSTS[(number + turn) % len(COSTS)]))
            seen.append(status)
            if status == 429:
                await asyncio.sleep(0.02)
            elif status != 200:
                assert status == 402, answer
                assert headers["x-should-retry"] == "false"
                return

    await asyncio.gather(*(client(number) for number in range(clients)))
    await r.settled()
    return seen


@pytest.mark.parametrize("clients", [1, 8, 32, 64])
def test_output_heavy_work_ends_within_five_cents_below_the_cap(rig: RigMaker, clients: int) -> None:
    """Spend ends in [0.95, 1.00], whoever else asks at the same time; the ledger equals the provider's meter."""

    async def main() -> None:
        async with rig(answers_that_cost(*COSTS)) as r:
            seen = await spend_until_refused(
                r, clients, lambda cost: r.request(f"cost-{cost} please", max_tokens=33_400, stream=True)
            )
            meter = r.simulator.meter.total()
            assert Money.usd("0.95") <= meter <= Money.usd("1.00")
            assert r.charged() == meter
            assert r.balance().held.nano == 0
            assert seen.count(402) == clients

    asyncio.run(main())


def test_no_final_refusal_while_the_missing_money_is_only_held(rig: RigMaker) -> None:
    """Eight at once, of which two fit: the others wait and are served, for their answers turn out cheap."""

    async def main() -> None:
        async with rig(answers_that_cost("0.01", pace_ms=5)) as r:
            body = r.request("cost-0.01 please", max_tokens=30_000, stream=True)
            answers = await asyncio.gather(*(r.post(body) for _ in range(8)))
            assert [status for status, _, _ in answers] == [200] * 8
            await r.settled()
            assert r.charged() == r.simulator.meter.total()

    asyncio.run(main())


def test_a_request_that_waited_too_long_may_come_again(rig: RigMaker) -> None:
    """429 with retry-after, never a final refusal; the key is not latched."""

    async def main() -> None:
        async with rig(answers_that_cost("0.40", pace_ms=100), wait_s=0.05) as r:
            body = r.request("cost-0.40 please", max_tokens=60_000, stream=True)
            first = asyncio.create_task(r.post(body))
            await r.until(lambda: bool(r.gateway.service.exchanges))
            status, headers, answer = await r.post(body)
            assert status == 429
            assert int(headers["retry-after"]) > 0
            assert "held by requests in flight" in json.loads(answer)["error"]["message"]
            assert (await first)[0] == 200
            status, headers, _ = await r.post(body)
            assert status == 200
            assert "x-crewcap-clamped" in headers

    asyncio.run(main())
