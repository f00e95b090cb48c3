"""What the gateway answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.gateway.conftest import RigMaker


def test_a_whole_answer_is_booked_to_the_nano(rig: RigMaker) -> None:
    """The provider's own meter and our ledger are two sums of the same answers."""

    async def main() -> None:
        async with rig() as r:
            status, headers, body = await r.post(r.request())
            assert status == 200
            assert json.loads(body)["content"][0]["text"].startswith("Yes.")
            await r.settled()
            assert r.charged() == r.simulator.meter.total()
            assert headers["x-crewcap-cost-usd"] == r.charged().exact()
            assert headers["x-crewcap-run"] == r.key.row.id

    asyncio.run(main())


def test_a_stream_passes_untouched_and_is_booked_to_the_nano(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            status, headers, body = await r.post(r.request(stream=True))
            assert status == 200
            assert headers["content-type"].startswith("text/event-stream")
            assert body.endswith(b'"type":"message_stop"}\n\n')
            await r.settled()
            assert r.charged() == r.simulator.meter.total()
            assert r.balance().held.nano == 0

    asyncio.run(main())
