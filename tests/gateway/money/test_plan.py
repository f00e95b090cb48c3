"""Subscriptions: who paid for an answer, what is booked of it, and when the credential rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.gateway.conftest import MODEL, Key, add_key, says, script

from crewcap.core.budget import ALL, Scope
from crewcap.core.limits import CountLimit
from crewcap.core.money import ZERO, Money
from crewcap.gateway.assemble import assemble
from crewcap.gateway.money.plan import LONGEST_RESET, UNKNOWN_RESET, Payer, payer, trouble
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.settings.load import parse, settings_of
from crewcap.simulator.script import Script, Step, When
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import Trouble
from crewcap.stores.sqlite.ledger import SqliteLedger

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TOKEN = "sk-ant-oat01-fake-subscription-token"
PLAN = {"anthropic-ratelimit-unified-status": "allowed"}
OVERAGE = {
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-unified-overage-status": "allowed",
    "anthropic-ratelimit-unified-overage-in-use": "true",
}
LIMIT = {"anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-overage-status": "rejected"}


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({}, "untold"),
        ({"anthropic-ratelimit-requests-remaining": "3"}, "untold"),
        (PLAN, "plan"),
        ({"anthropic-ratelimit-unified-status": "Allowed_Warning"}, "plan"),
        ({"anthropic-ratelimit-unified-status": "something new"}, "untold"),
        (LIMIT, "limit"),
        (OVERAGE, "overage"),
        ({**PLAN, "anthropic-ratelimit-unified-overage-in-use": "true"}, "overage"),
        ({**LIMIT, "anthropic-ratelimit-unified-overage-status": "allowed_warning"}, "overage"),
    ],
)
def test_an_answer_tells_who_paid_for_it(headers: dict[str, str], who: Payer) -> None:
    """What is not understood is not taken for paid."""
    assert payer(headers) == who


@pytest.mark.parametrize(
    ("reset", "until"),
    [
        (str(int((NOW + timedelta(hours=3)).timestamp())), NOW + timedelta(hours=3)),
        ("", NOW + UNKNOWN_RESET),
        ("soon", NOW + UNKNOWN_RESET),
        ("nan", NOW + UNKNOWN_RESET),
        ("9" * 40, NOW + UNKNOWN_RESET),
        (str(int((NOW - timedelta(hours=3)).timestamp())), NOW + UNKNOWN_RESET),
        (str(int((NOW + LONGEST_RESET + timedelta(days=1)).timestamp())), NOW + UNKNOWN_RESET),
    ],
)
def test_a_plan_that_is_used_up_rests_until_it_opens_again(reset: str, until: datetime) -> None:
    found = trouble({**LIMIT, "anthropic-ratelimit-unified-reset": reset}, now=NOW)
    assert found is not None
    assert (found.kind, found.until) == ("spend", until)


def test_a_plan_that_pays_has_no_trouble() -> None:
    assert (trouble(PLAN, now=NOW), trouble({}, now=NOW)) == (None, None)


@dataclass
class Desk:
    """A gateway on a subscription, behind a provider whose answers tell what a test wants them to."""

    gateway: Gateway
    simulator: Simulator
    ledger: SqliteLedger
    http: aiohttp.ClientSession
    key: Key
    told: dict[str, str] = field(default_factory=dict)  # headers of every answer
    sent: list[dict[str, str]] = field(default_factory=list)  # headers of every request

    async def ask(self, **fields: Any) -> int:
        body = {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}], **fields}
        async with self.http.post(
            f"{self.gateway.url}/v1/messages",
            json=body,
            headers={"x-api-key": self.key.secret, "anthropic-beta": "x-y"},
        ) as answer:
            await answer.read()
        await self.gateway.service.purse.do(lambda: None)
        return answer.status

    def booked(self) -> tuple[Money, Money, Money]:
        """Spent, uncertain and notional of the key, all of time."""
        totals = self.ledger.totals(Scope(f"key:{self.key.row.id}"))
        assert totals.held == ZERO
        assert self.ledger.verify().problems == ()
        return totals.spent, totals.uncertain, totals.notional

    @property
    def billed(self) -> Money:
        return self.simulator.meter.total()


DeskMaker = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def desk(tmp_path: Path, book: Book) -> DeskMaker:
    """`async with desk(PLAN, cap="1.00") as d:`"""

    @asynccontextmanager
    async def make(told: dict[str, str], *, cap: str = "1.00", answers: Script | None = None) -> AsyncIterator[Desk]:
        home = Home(tmp_path / "home")
        home.make()
        ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
        async with (
            Simulator(answers or script(says()), book=book) as simulator,
            aiohttp.ClientSession() as http,
            between(simulator.url) as (url, said, heard),
        ):
            said.update(told)
            text = f'[providers.anthropic]\nbilling = "subscription"\nbase_url = "{url}"\nprices = "anthropic"\n'
            async with assemble(
                home=home,
                settings=settings_of(parse(text.encode(), name="a file")),
                ledger=ledger,
                book=book,
                environ={"CLAUDE_CODE_OAUTH_TOKEN": TOKEN},
                clock=lambda: datetime.now(UTC),
                listen=("127.0.0.1", 0),
            ) as gateway:
                yield Desk(gateway, simulator, ledger, http, add_key(ledger, cap), said, heard)
        ledger.close()

    return make


@asynccontextmanager
async def between(upstream: str) -> AsyncIterator[tuple[str, dict[str, str], list[dict[str, str]]]]:
    """A server that passes everything on, adds headers to answers, and notes those of requests."""
    said: dict[str, str] = {}
    heard: list[dict[str, str]] = []

    async def handle(http: web.BaseRequest) -> web.StreamResponse:
        heard.append({name.lower(): value for name, value in http.headers.items()})
        sent = {"x-api-key": "sk-ant-fake", "content-type": "application/json"}
        async with (
            aiohttp.ClientSession() as client,
            client.request(http.method, upstream + str(http.rel_url), data=await http.read(), headers=sent) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type, **said})
            await response.prepare(http)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}", said, heard
    finally:
        await runner.cleanup()


def test_what_a_plan_pays_for_is_notional_and_counts_against_no_budget(desk: DeskMaker) -> None:
    """It is metered to the last unit, whole and streamed, and its cap stays whole."""

    async def main() -> None:
        async with desk(PLAN, cap="0.02") as d:
            assert [await d.ask(), await d.ask(stream=True)] == [200, 200]
            for _ in range(20):
                assert await d.ask() == 200
            assert d.booked() == (ZERO, ZERO, d.billed)
            assert d.billed > Money.usd("0.02")
            balance = d.ledger.balances(d.key.row.id)[0]
            assert (balance.spent, balance.uncertain, balance.left) == (ZERO, ZERO, balance.limit)
            assert {entry.kind for entry in d.ledger.entries()} == {"settled"}
            assert all(entry.usage.output == 100 for entry in d.ledger.entries())

    asyncio.run(main())


def test_the_token_is_shown_as_a_bearers_beside_the_clients_betas(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk(PLAN) as d:
            await d.ask()
            assert d.sent[-1]["authorization"] == f"Bearer {TOKEN}"
            assert d.sent[-1]["anthropic-beta"] == "x-y,oauth-2025-04-20"
            assert "x-api-key" not in d.sent[-1]

    asyncio.run(main())


def test_until_an_answer_has_told_who_pays_money_is_held(desk: DeskMaker) -> None:
    """Nothing may be billed that no budget had room for, also not the first time."""

    async def main() -> None:
        async with desk(PLAN, cap="0.000001") as d:
            assert await d.ask() == 402
            assert d.billed == ZERO
            first = d.key
            d.key = add_key(d.ledger, "1.00")
            assert await d.ask() == 200
            d.key = first
            assert await d.ask() == 200, "now it is known, for every key"

    asyncio.run(main())


def test_a_credential_that_does_not_tell_is_metered(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk({}, cap="0.02") as d:
            statuses = [await d.ask() for _ in range(20)]
            assert set(statuses) == {200, 402}
            assert d.booked() == (d.billed, ZERO, ZERO)
            assert d.billed <= Money.usd("0.02")

    asyncio.run(main())


def test_a_credential_that_stops_telling_is_metered_from_then_on(desk: DeskMaker) -> None:
    """The one answer that did not tell is booked as spent: nobody said that a plan paid."""

    async def main() -> None:
        async with desk(PLAN, cap="0.02") as d:
            assert await d.ask() == 200
            notional = d.billed
            d.told.clear()
            assert {await d.ask() for _ in range(20)} == {200, 402}
            assert d.booked() == (d.billed - notional, ZERO, notional)
            assert d.billed - notional <= Money.usd("0.02")

    asyncio.run(main())


def test_an_answer_that_was_billed_as_overage_is_spent_and_the_credential_rests(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk(PLAN) as d:
            assert await d.ask() == 200
            notional = d.billed
            d.told.clear()
            d.told.update(OVERAGE)
            assert await d.ask() == 200
            assert d.booked() == (d.billed - notional, ZERO, notional)
            assert await d.ask() == 402
            (frozen,) = d.gateway.status()["frozen"]
            assert (frozen["kind"], frozen["reason"]) == ("spend", "the plan is used up and answers are billed")
            assert frozen["until"] > datetime.now(UTC)

    asyncio.run(main())


def test_a_plan_at_its_limit_rests_and_its_runs_are_told_so_once(desk: DeskMaker) -> None:
    refused = Trouble(status=429, kind="rate_limit_error", message="This request would exceed your account's limit")

    async def main() -> None:
        async with desk(LIMIT, answers=script(says(refuse=refused))) as d:
            assert await d.ask() == 402
            assert await d.ask() == 402
            assert len(d.sent) == 1, "it is asked once, and then left alone"
            assert d.booked() == (ZERO, ZERO, ZERO)
            assert "the plan's limit is reached" in d.gateway.status()["frozen"][0]["reason"]

    asyncio.run(main())


def test_an_answer_that_was_cut_is_notional_too(desk: DeskMaker) -> None:
    whole = Step(name="whole", say="Yes.", output_tokens=100, when=When(stream=False))
    cut = Step(name="cut", say="Yes.", output_tokens=100, cut=3)

    async def main() -> None:
        async with desk(PLAN, answers=script(whole, cut)) as d:
            assert await d.ask() == 200
            with pytest.raises(aiohttp.ClientError):
                await d.ask(stream=True)
            await d.gateway.service.purse.do(lambda: None)
            spent, uncertain, notional = d.booked()
            assert (spent, uncertain) == (ZERO, ZERO)
            assert notional > d.billed
            assert [entry.kind for entry in d.ledger.entries()] == ["settled", "uncertain"]

    asyncio.run(main())


def test_counts_hold_for_a_subscription(desk: DeskMaker) -> None:
    """Its money is no limit, so tokens, runs and hours are."""

    async def main() -> None:
        async with desk(PLAN) as d:
            d.ledger.set_count(CountLimit(scope=ALL, kind="tokens", window="day", value=2_000, source="command"))
            statuses = [await d.ask() for _ in range(30)]
            assert set(statuses) == {200, 402}
            assert d.booked()[:2] == (ZERO, ZERO)

    asyncio.run(main())
