"""A run's door to a real gateway: who may use it, and when it is closed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.gateway.conftest import add_key, says, script
from tests.runner.rig import MODEL, Shop

from crewcap.core.budget import Scope
from crewcap.errors import UnsafeEnvironment
from crewcap.gateway.client import GatewayHandle
from crewcap.gateway.front.fanout import Seen
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner.doors import Doors, LastingDoors
from crewcap.simulator.troubles import Trouble

BODY = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


async def ask(socket: Path, secret: str, **more: Any) -> tuple[int, bytes]:
    """One request through a door."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http,
        http.post("http://gateway/v1/messages", json={**BODY, **more}, headers={"x-api-key": secret}) as answer,
    ):
        return answer.status, await answer.read()


def test_through_a_door_only_its_own_key_works_and_then_the_door_is_gone(shop: Shop) -> None:
    async def main() -> None:
        run = shop.written(shop.plan())
        async with shop.gateway(script()) as gateway:
            mine, other = add_key(shop.ledger, "1.00", run=run.id), add_key(shop.ledger, "1.00")
            site = shop.site(run)
            async with Doors(gateway).opened(run.id, mine.row.id, site, hurry=asyncio.Event()) as door:
                assert len(str(door.socket)) < 100
                assert (await ask(door.socket, mine.secret))[0] == 200
                assert (await ask(door.socket, other.secret))[0] == 401
                assert await over_tcp(gateway, mine.secret) == 401
                folder = door.socket.parent
                assert folder.stat().st_mode & 0o777 == 0o711
            assert not folder.exists()
            assert (await gateway.status())["runs"] == []

    asyncio.run(main())


async def over_tcp(gateway: GatewayHandle, secret: str) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}/v1/messages", json=BODY, headers={"x-api-key": secret}) as answer,
    ):
        return answer.status


def test_a_door_is_closed_when_its_last_request_is_in_the_books(shop: Shop) -> None:
    """A run that says what it cost must know."""

    async def main() -> None:
        run = shop.written(shop.plan())
        async with shop.gateway(script(says(events=3, pace_ms=60))) as gateway:
            key = add_key(shop.ledger, "1.00", run=run.id)
            async with Doors(gateway).opened(run.id, key.row.id, shop.site(run), hurry=asyncio.Event()) as door:
                await leave_in_the_middle(door.socket, key.secret)
            totals = shop.ledger.totals(Scope(f"run:{run.id}"))
            assert (totals.requests, totals.held.nano, totals.uncertain.nano) == (1, 0, 0)
            assert totals.spent.nano > 0

    asyncio.run(main())


async def leave_in_the_middle(socket: Path, secret: str) -> None:
    """A client that goes away once the answer has begun."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http,
        http.post("http://gateway/v1/messages", json={**BODY, "stream": True}, headers={"x-api-key": secret}) as answer,
    ):
        await answer.content.readany()


def test_who_is_in_a_hurry_leaves_the_rest_to_the_gateway(shop: Shop) -> None:
    """The answer may never come; what it may cost stays held."""

    async def main() -> None:
        run, hurry = shop.written(shop.plan()), asyncio.Event()
        async with shop.gateway(script(says(events=3, hang=2)), drain_s=1.0) as gateway:
            key = add_key(shop.ledger, "1.00", run=run.id)
            async with (
                asyncio.timeout(10),
                Doors(gateway).opened(run.id, key.row.id, shop.site(run), hurry=hurry) as door,
            ):
                await leave_in_the_middle(door.socket, key.secret)
                hurry.set()
            assert len(shop.ledger.open_holds(run=run.id)) == 1
        assert shop.ledger.totals(Scope(f"run:{run.id}")).uncertain.nano > 0

    asyncio.run(main())


def test_a_frozen_provider_is_told_with_its_reason(shop: Shop) -> None:
    trouble = Trouble(status=400, kind="invalid_request_error", message="Your credit balance is too low")

    async def main() -> None:
        run = shop.written(shop.plan())
        async with shop.gateway(script(says(refuse=trouble))) as gateway:
            doors, key = Doors(gateway), add_key(shop.ledger, "1.00", run=run.id)
            assert await doors.frozen() == ""
            async with doors.opened(run.id, key.row.id, shop.site(run), hurry=asyncio.Event()) as door:
                status, said = await ask(door.socket, key.secret)
            assert status >= 400
            assert json.loads(said)["type"] == "error"
            assert "credit balance" in await doors.frozen()

    asyncio.run(main())


def test_a_gateway_that_is_gone_is_an_error_with_a_help(shop: Shop) -> None:
    gone = GatewayHandle(url="", control=Path("/nonexistent/control.sock"), pid=0)

    async def main() -> None:
        run = shop.written(shop.plan())
        key = add_key(shop.ledger, "1.00", run=run.id)
        with pytest.raises(UnsafeEnvironment, match="is gone"):
            async with Doors(gone).opened(run.id, key.row.id, shop.site(run), hurry=asyncio.Event()):
                pass

    asyncio.run(main())


def test_what_is_asked_of_doors_before_there_is_a_gateway_is_nothing_yet(shop: Shop) -> None:
    """A run's watch asks from the start on; the gateway may be between two of its lives."""

    async def main() -> None:
        doors = LastingDoors(Lifeline(shop.home))
        assert await doors.fan_out("r1") == Seen()
        assert not await doors.slice_opened("r1", wait=False)
        with pytest.raises(UnsafeEnvironment, match="there is no gateway yet"):
            await doors.frozen()

    asyncio.run(main())
