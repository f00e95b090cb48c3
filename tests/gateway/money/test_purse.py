"""The cap holds and is usable to the last cents, over real HTTP, with many clients at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, Granted, HoldId, RateKind
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.errors import LedgerError
from crewcap.simulator.script import Script, Step, When
from crewcap.stores import HoldOrder, Limit, Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger

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


def test_an_answer_is_clamped_to_what_is_left_and_says_so(rig: RigMaker) -> None:
    """The whole rest of the cap is usable: the answer is cut at the last cent and the agent is told."""

    async def main() -> None:
        async with rig(answers_that_cost("0.50"), cap="0.10") as r:
            status, headers, body = await r.post(r.request("cost-0.50 please", max_tokens=33_400))
            assert status == 200
            asked, limit = headers["x-crewcap-clamped"].split(" -> ")
            assert (asked, json.loads(body)["usage"]["output_tokens"]) == ("33400", int(limit))
            await r.settled()
            assert (
                Money.usd("0.085") <= r.charged() == r.simulator.meter.total() <= Money.usd("0.10")
            )  # held at 1.1, "us"
            assert r.entries()[0].notes == (f"clamped 33400 -> {limit}",)

    asyncio.run(main())


def test_a_prompt_that_does_not_fit_by_its_bytes_is_counted_for_free(rig: RigMaker) -> None:
    """120 KB of text would be held at $0.36 and costs a quarter of it; waiting or asking again counts it once."""

    async def main() -> None:
        async with rig(cap="0.20") as r:
            body = r.request("word " * 24_000, max_tokens=200)
            status, _, _ = await r.post(body)
            assert status == 200
            await r.settled()
            entry = r.entries()[0]
            assert any("count call" in note for note in entry.notes)
            assert r.charged() == r.simulator.meter.total()
            await r.post(body)
            counts = [record for record in r.simulator.log.records if record.path.endswith("count_tokens")]
            assert len(counts) == 1

    asyncio.run(main())


def test_whole_prompts_are_used_up_to_the_arithmetic_maximum(rig: RigMaker) -> None:
    """Prompts that write a cache: spending stops only when one more worst case really does not fit."""

    async def main() -> None:
        async with rig(cap="0.50") as r:

            def body(number: int) -> dict[str, Any]:
                text = {"type": "text", "text": f"{number} " + "word " * 16_000, "cache_control": {"type": "ephemeral"}}
                return r.request(max_tokens=100, messages=[{"role": "user", "content": [text]}])

            answers = await asyncio.gather(*(r.post(body(number)) for number in range(12)))
            await r.settled()
            served = sum(status == 200 for status, _, _ in answers)
            meter = r.simulator.meter.total()
            one = Money(meter.nano // served)
            assert r.charged() == meter
            assert meter + one + Money(one.nano * 8 // 100) > Money.usd("0.50")  # 3 % and 500 tokens of spare

    asyncio.run(main())


def test_a_refusal_names_the_smallest_cap_that_would_work(rig: RigMaker) -> None:
    """And that cap does work."""

    async def main() -> None:
        async with rig(cap="0.01") as r:
            body = r.request("word " * 8_000, max_tokens=2_000)
            status, _, answer = await r.post(body)
            message = json.loads(answer)["error"]["message"]
            assert status == 402
            assert f"key:{r.key.row.id}" in message
            for word in ("left of $0.01", "spent", "held", "needs at least"):
                assert word in message
            smallest = message.partition("would work is $")[2].partition(";")[0]
            assert (await r.post(body, key=r.new_key(smallest)))[0] == 200
            assert (await r.post(body, key=r.new_key(str(float(smallest) - 0.01)[:4])))[0] == 402
            assert r.ledger.totals(r.key.row.scopes[0]).refused == 1

    asyncio.run(main())


def test_a_latched_key_is_refused_without_another_count_call(rig: RigMaker) -> None:
    """Agents retry a refusal; the latch makes that cheap, and a raised cap ends it."""

    async def main() -> None:
        async with rig(cap="0.01") as r:
            body = r.request("word " * 8_000, max_tokens=2_000)
            for extra in range(5):
                more = r.request("word " * (8_000 + extra), max_tokens=2_000)
                assert (await r.post(more))[0] == 402
            counts = [record for record in r.simulator.log.records if record.path.endswith("count_tokens")]
            assert len(counts) == 1
            limit = Limit(scope=r.key.row.scopes[0], window="total", amount=Money.usd("1.00"), source="command")
            r.ledger.set_limit(limit)
            assert (await r.post(body))[0] == 200

    asyncio.run(main())


def test_a_smaller_request_is_served_by_a_key_that_was_latched(rig: RigMaker) -> None:
    """A refusal is true for the request that it answers."""

    async def main() -> None:
        async with rig(cap="0.02") as r:
            assert (await r.post(r.request("word " * 8_000, max_tokens=2_000)))[0] == 402
            assert (await r.post(r.request("hello", max_tokens=200)))[0] == 200

    asyncio.run(main())


def test_other_processes_money_is_waited_for_as_well(rig: RigMaker) -> None:
    """Another gateway holds the money of a shared scope and gives it back: nobody tells us, so we look."""

    async def main() -> None:
        async with rig(cap="1.00") as r:
            boot = r.ledger.start_boot()
            order = HoldOrder(
                hold=HoldId("elsewhere"),
                boot=boot,
                key=r.key.row.id,
                amount=Money.usd("0.99"),
                model="claude-sonnet-4-6",
                provider="anthropic",
                book="",
                prompt_bound=1,
                output_limit=1,
                asked_output=1,
            )
            assert isinstance(r.ledger.reserve(order), Granted)
            asking = asyncio.create_task(r.post(r.request(max_tokens=1_000)))
            await r.until(lambda: bool(r.gateway.service.purse.waiting))
            r.ledger.settle(
                Settlement(hold=HoldId("elsewhere"), kind="released", spent=Money(0), uncertain=Money(0), usage=Usage())
            )
            assert (await asking)[0] == 200

    asyncio.run(main())


def test_a_client_that_leaves_the_line_costs_nothing(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(answers_that_cost("0.30", pace_ms=60)) as r:
            body = r.request("cost-0.30 please", max_tokens=60_000, stream=True)
            first = asyncio.create_task(r.post(body))
            await r.until(lambda: bool(r.gateway.service.exchanges))
            second = asyncio.create_task(r.post(body))
            await r.until(lambda: bool(r.gateway.service.purse.waiting))
            second.cancel()
            await first
            await r.until(lambda: not r.gateway.service.purse.waiting)
            await r.settled()
            assert len(r.entries()) == 1
            assert r.balance().held == Money(0)

    asyncio.run(main())


def test_neighbours_are_not_slowed_by_a_run_that_waits_for_its_own_cap(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(answers_that_cost("0.30", pace_ms=60)) as r:
            body = r.request("cost-0.30 please", max_tokens=60_000, stream=True)
            tasks = [asyncio.create_task(r.post(body)) for _ in range(2)]
            await r.until(lambda: bool(r.gateway.service.purse.waiting))
            assert (await r.post(r.request(), key=r.new_key()))[0] == 200
            assert not all(task.done() for task in tasks)
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_ledger_that_cannot_book_sends_nothing(rig: RigMaker) -> None:
    """Fail closed: locked by somebody else, it is 503 and may be tried again."""

    async def main() -> None:
        import sqlite3  # noqa: PLC0415

        async with rig(busy_s=0.05) as r:
            other = sqlite3.connect(r.home.ledger, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            status, _, body = await r.post(r.request())
            assert status == 503
            assert "ledger" not in json.loads(body)["error"]["message"].lower() or "locked" in body.decode()
            other.execute("ROLLBACK")
            other.close()
            assert not r.simulator.log.records
            assert (await r.post(r.request()))[0] == 200

    asyncio.run(main())


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """A folder stands where a file should, also for root."""
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    with pytest.raises(LedgerError):
        yield
    path.rmdir()
    aside.rename(path)


@pytest.mark.parametrize("marker_fails", [False, True])
def test_a_settlement_that_could_not_be_booked_is_booked_later(rig: RigMaker, *, marker_fails: bool) -> None:
    """Until then the hold stays charged; nothing is lost, also where the marker cannot be written."""

    async def main() -> None:
        import sqlite3  # noqa: PLC0415

        async with rig(answers_that_cost("0.10", pace_ms=40), busy_s=0.05) as r:
            asking = asyncio.create_task(r.post(r.request("cost-0.10 please", max_tokens=9_000, stream=True)))
            await r.until(lambda: bool(r.simulator.meter.bills))
            other = sqlite3.connect(r.home.ledger, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            assert (await asking)[0] == 200
            await r.settled()  # it was tried, and could not be
            other.execute("ROLLBACK")
            other.close()
            assert r.balance().held >= r.simulator.meter.total()
            assert r.charged() == Money(0)
            with unwritable(r.home.marker) if marker_fails else nullcontext():
                await r.gateway.service.purse.beat()
            assert r.charged() == r.simulator.meter.total()
            assert r.balance().held == Money(0)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["rpm", "concurrent"])
def test_a_rate_that_has_no_room_is_waited_for_inside(rig: RigMaker, kind: RateKind) -> None:
    """The client sees nothing of it: every request is answered, none was sent before its time."""

    async def main() -> None:
        async with rig(answers_that_cost("0.01", pace_ms=5)) as r:
            value = 600 if kind == "rpm" else 2
            r.ledger.set_rate(RateLimit(scope=ALL, kind=kind, value=value, source="command"))
            if kind == "rpm":  # a bucket that is nearly empty: a request each tenth of a second
                drain(r, value)
            body = r.request("cost-0.01 please", max_tokens=1_000, stream=True)
            answers = await asyncio.gather(*(r.post(body) for _ in range(6)))
            assert [status for status, _, _ in answers] == [200] * 6
            await r.settled()
            assert r.charged() == r.simulator.meter.total()

    asyncio.run(main())


@pytest.mark.parametrize("change", ["raised", "taken back"])
@pytest.mark.parametrize(("kind", "value"), [("rpm", 1), ("tpm", 50)])
def test_whoever_waits_for_a_rate_hears_that_it_was_changed(
    rig: RigMaker, kind: RateKind, value: int, change: str
) -> None:
    """By another process, which tells nobody: the rate's own time is most of a minute or more."""

    async def main() -> None:
        async with rig(answers_that_cost("0.01"), wait_s=200) as r:
            slow = RateLimit(scope=ALL, kind=kind, value=value, source="command")
            r.ledger.set_rate(slow)
            body = r.request("cost-0.01 please", stream=True)
            assert (await r.post(body))[0] == 200
            await r.settled()
            asking = [asyncio.create_task(r.post(body)) for _ in range(3)]
            await r.until(lambda: r.gateway.service.purse.waiting == 3)
            with other_process(r) as elsewhere:
                if change == "raised":
                    elsewhere.set_rate(replace(slow, value=1_000_000))
                else:
                    elsewhere.unset_rate(ALL, kind, source="command")
            async with asyncio.timeout(10):
                assert [status for status, _, _ in await asyncio.gather(*asking)] == [200] * 3

    asyncio.run(main())


def test_a_rate_that_stays_without_room_ends_in_an_answer_that_says_when_to_come_again(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(answers_that_cost("0.01"), wait_s=0.05) as r:
            r.ledger.set_rate(RateLimit(scope=ALL, kind="rpm", value=1, source="command"))
            body = r.request("cost-0.01 please", stream=True)
            assert (await r.post(body))[0] == 200
            status, headers, answer = await r.post(body)
            assert status == 429
            assert 50 <= int(headers["retry-after"]) <= 60
            assert "all has no request left of its 1 a minute" in json.loads(answer)["error"]["message"]
            await r.settled()
            assert r.charged() == r.simulator.meter.total()

    asyncio.run(main())


def test_a_count_that_is_used_up_is_a_budget_that_says_no(rig: RigMaker) -> None:
    """Final, in the shape that stops an agent at once, with the line that would raise it."""

    async def main() -> None:
        async with rig(answers_that_cost("0.01")) as r:
            r.ledger.set_count(CountLimit(scope=ALL, kind="tokens", window="day", value=900, source="command"))
            status, headers, answer = await r.post(r.request("cost-0.01 please", max_tokens=1_000, stream=True))
            assert (status, headers["x-should-retry"]) == (402, "false")
            assert "crewcap budget set all tokens/day NUMBER" in json.loads(answer)["error"]["message"]
            await r.settled()
            assert r.ledger.totals(ALL).refused == 1

    asyncio.run(main())


@contextmanager
def other_process(r: Rig) -> Iterator[SqliteLedger]:
    """The same books, opened once more."""
    ledger = SqliteLedger(r.home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    try:
        yield ledger
    finally:
        ledger.close()


def drain(r: Rig, requests: int) -> None:
    """Take requests out of the minute, as another gateway of the same ledger would."""
    boot = r.ledger.start_boot()
    key = r.new_key()
    orders = [order(f"drain-{number}", boot=boot, key=key.row.id, amount=Money(0)) for number in range(requests)]
    r.ledger.reserve_many(orders)
    r.ledger.stop_boot(boot)
