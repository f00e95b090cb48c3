"""What `/metrics` tells, of real requests through a real gateway."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
from tests.gateway.conftest import MODEL, PROVIDER_KEY, RigMaker, says, script
from tests.gateway.scrape import Family, scrape, total, value

from crewcap import __version__
from crewcap.gateway.provider.breaker import Pass
from crewcap.gateway.provider.freeze import Trouble as Frozen
from crewcap.gateway.watching.metrics import status_class
from crewcap.simulator.script import Step
from crewcap.simulator.troubles import Trouble

SELLER = {"provider": "anthropic", "model": MODEL}


async def look(http: aiohttp.ClientSession, url: str) -> dict[str, Family]:
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return scrape(await answer.read())


def test_money_and_tokens_are_the_ledgers_own(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            for _ in range(3):
                assert (await r.post(r.request()))[0] == 200
            await r.settled()
            page = await look(r.http, r.gateway.url)
            entries = r.entries()
            spent = sum(entry.spent.nano for entry in entries)
            assert value(page, "crewcap_spent_nanodollars_total", **SELLER) == spent == r.simulator.meter.total().nano
            assert value(page, "crewcap_requests_total", **SELLER, kind="complete", status="2xx") == 3
            for kind in ("input", "output"):
                told = sum(getattr(entry.usage, kind) for entry in entries)
                assert value(page, "crewcap_tokens_total", **SELLER, kind=kind) == told > 0
            assert total(page, "crewcap_uncertain_nanodollars_total") == 0
            assert value(page, "crewcap_first_byte_seconds_count", provider="anthropic") == 3
            assert value(page, "crewcap_added_seconds_count", provider="anthropic") == 3
            assert value(page, "crewcap_request_seconds_count", provider="anthropic") == 3
            assert value(page, "crewcap_ledger_round_seconds_count") >= 3

    asyncio.run(main())


def test_this_gateway_says_who_it_is_and_that_it_idles(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            page = await look(r.http, r.gateway.url)
            status = r.gateway.status()
            assert value(page, "crewcap_info", version=__version__, boot=status["boot"], book=status["book"]) == 1
            for name in ("crewcap_draining", "crewcap_holds_open", "crewcap_requests_waiting"):
                assert value(page, name) == 0

    asyncio.run(main())


def test_what_is_under_way_is_held_and_what_waits_is_counted(rig: RigMaker) -> None:
    slow = script(Step(name="slow", say="Yes.", output_tokens=400, events=20, pace_ms=20))

    async def main() -> None:
        async with rig(slow, cap="0.03") as r:
            first = asyncio.create_task(r.post(r.request(stream=True)))
            await r.until(lambda: bool(r.simulator.meter.bills))
            second = asyncio.create_task(r.post(r.request(stream=True)))
            await r.until(lambda: r.gateway.service.purse.waiting == 1)
            page = await look(r.http, r.gateway.url)
            assert value(page, "crewcap_holds_open") == 1
            assert value(page, "crewcap_requests_waiting") == 1
            assert 0 < value(page, "crewcap_held_nanodollars", **SELLER) <= 30_000_000
            assert [(await first)[0], (await second)[0]] == [200, 200]

    asyncio.run(main())


def test_refusals_and_failures_are_counted_by_kind(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(script(says(refuse=Trouble(status=500, kind="api_error", message="no"))), cap="0.50") as r:
            assert (await r.post(b"{"))[0] == 400
            assert (await r.post(r.request(), key=r.new_key("0.000001")))[0] == 402
            assert (await r.post(r.request(), headers={"x-api-key": "ccap-of-nobody-0123456789abcdef"}))[0] == 401
            assert (await r.post(r.request()))[0] >= 500
            page = await look(r.http, r.gateway.url)
            for kind in ("malformed", "budget", "key"):
                assert value(page, "crewcap_refusals_total", dialect="anthropic", kind=kind) == 1, kind
            assert value(page, "crewcap_upstream_failures_total", provider="anthropic", kind="server_error") >= 1
            assert value(page, "crewcap_requests_total", **SELLER, kind="plain_error", status="5xx") >= 1

    asyncio.run(main())


def test_a_breaker_and_a_frozen_key_are_told_by_their_state(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            page = await look(r.http, r.gateway.url)
            assert value(page, "crewcap_breaker", provider="anthropic", kind="closed") == 1
            breakers = r.gateway.service.metered.breakers
            for _ in range(breakers.rules.failures):
                breakers.failed(Pass(r.gateway.service.metered._key_name(r.gateway._providers[0])))
            page = await look(r.http, r.gateway.url)
            assert value(page, "crewcap_breaker", provider="anthropic", kind="open") == 1
            assert value(page, "crewcap_breaker", provider="anthropic", kind="closed") == 0
            r.gateway.freezer.freeze("anthropic", Frozen(kind="spend", reason="its money is used up"))
            page = await look(r.http, r.gateway.url)
            assert value(page, "crewcap_frozen", provider="anthropic", kind="spend") == 1

    asyncio.run(main())


def test_no_key_run_user_or_invented_model_is_named(rig: RigMaker) -> None:
    """Low cardinality, and nobody's business."""

    async def main() -> None:
        async with rig() as r:
            key = r.new_key("1.00", run="run-of-somebody", label="label-of-somebody")
            assert (await r.post(r.request(), key=key))[0] == 200
            assert (await r.post(r.request(model="invented-by-a-client"), key=key))[0] == 400
            dated = await r.post(r.request(model=f"{MODEL}-20991231"), key=key)
            async with r.http.get(f"{r.gateway.url}/metrics") as answer:
                page = await answer.text()
            for name in (PROVIDER_KEY, key.secret, key.row.id, key.row.hash, "of-somebody", "invented", "20991231"):
                assert name not in page, (name, dated[0])
            assert set(re.findall(r'([a-z]+)="', page)) <= {
                *("provider", "model", "kind", "status", "dialect", "le", "version", "boot", "book"),
            }

    asyncio.run(main())


def test_a_runs_door_has_no_metrics(rig: RigMaker, tmp_path: Path) -> None:
    """What an agent can reach tells it nothing of other runs."""

    async def main() -> None:
        async with rig() as r:
            key, path = r.new_key(run="r1"), tmp_path / "gw.sock"
            await r.gateway.open_run("r1", key=key.row.id, path=path, mode="http", uid=None)
            connector = aiohttp.UnixConnector(path=str(path))
            async with aiohttp.ClientSession(connector=connector) as inside:
                for name, status in (("/metrics", 404), ("/healthz", 200), ("/control", 404)):
                    async with inside.get(f"http://gateway{name}") as answer:
                        assert answer.status == status, name
            page = await look(r.http, r.gateway.url)
            assert value(page, "crewcap_run_doors") == 1

    asyncio.run(main())


def test_a_status_has_a_class() -> None:
    assert [status_class(status) for status in (0, 200, 404, 529, 99, 600)] == [
        *("none", "2xx", "4xx", "5xx", "none", "none"),
    ]
