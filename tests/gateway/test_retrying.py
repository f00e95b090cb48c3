"""Provider trouble on the wire: attempts with money of their own, breakers, and what the client sees of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from tests.gateway.conftest import MODEL, says, script

from crewcap.core.money import ZERO
from crewcap.gateway.provider.breaker import Rules
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.simulator.script import Script, Step
from crewcap.simulator.troubles import TROUBLES, Trouble

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker

NEVER = Rules(failures=10_000)


class Seen:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.ends: list[Ended] = []

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)

    def declined(self, declined: Declined) -> None:
        del declined


def one(**step: Any) -> Script:
    return Script(name="one", steps=(Step(name="one", say="Yes.", output_tokens=400, **step),))


async def trouble_passes(
    r: Rig, trouble: Trouble, body: object, *, attempts: int = 1
) -> tuple[int, dict[str, str], bytes]:
    """Ask while there is trouble, which ends after so many attempts."""
    r.simulator.trouble = trouble
    asking = asyncio.create_task(r.post(body))
    await r.until(lambda: sum(record.ending == "refused" for record in r.simulator.log.records) >= attempts)
    r.simulator.trouble = None
    return await asking


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["overloaded", "api_error", "unavailable"])
def test_an_error_then_an_answer_is_one_answer_for_the_client(rig: RigMaker, name: str, stream: bool) -> None:  # noqa: FBT001  (a parameter of pytest)
    """One settled and one released entry, each with its reason; the first cost nothing."""

    async def main() -> None:
        async with rig(backoff_s=0.2) as r:
            seen = Seen()
            r.gateway.service.watchers.append(seen)
            status, headers, body = await trouble_passes(r, TROUBLES[name], r.request(stream=stream))
            assert status == 200
            assert "x-should-retry" not in headers
            assert b"Yes." in body
            await r.settled()
            first, second = r.entries()
            told = f"the provider answered {TROUBLES[name].status}"
            assert (first.kind, first.reason, second.kind) == ("released", told, "settled")
            assert f"attempt 2: {told}" in second.notes
            assert r.charged() == r.simulator.meter.total() > ZERO
            assert [end.attempt for end in seen.ends] == [1, 2]

    asyncio.run(main())


def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(rig: RigMaker) -> None:
    """`retry-after: 1` is a second at least, and the client is sent nothing meanwhile."""

    async def main() -> None:
        async with rig(breaker=NEVER) as r:
            limit = Trouble(status=429, kind="rate_limit_error", message="slow down", headers={"retry-after": "1"})
            status, _, _ = await trouble_passes(r, limit, r.request())
            assert status == 200
            await r.settled()
            first, second = r.simulator.log.records
            assert 1 <= (second.at - first.at).total_seconds() < 5
            assert Counter(entry.kind for entry in r.entries()) == {"released": 1, "settled": 1}

    asyncio.run(main())


def test_a_limit_that_lasts_longer_than_there_is_time_goes_to_the_client_as_it_came(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            r.simulator.trouble = Trouble(
                status=429, kind="rate_limit_error", message="tomorrow", headers={"retry-after": "3600"}
            )
            status, headers, _ = await r.post(r.request())
            assert (status, headers["retry-after"]) == (429, "3600")
            assert "x-should-retry" not in headers
            assert len(r.simulator.log.records) == 1

    asyncio.run(main())


def test_after_our_attempts_the_clients_library_is_told_to_make_none(rig: RigMaker) -> None:
    """Claude Code obeys `x-should-retry: false` (measured): else ours would be multiplied by its eleven."""

    async def main() -> None:
        async with rig(attempts=3, breaker=NEVER) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            status, headers, _ = await r.post(r.request())
            assert (status, headers["x-should-retry"]) == (529, "false")
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["released"] * 3
            assert r.charged() == ZERO

    asyncio.run(main())


def test_the_requests_own_mistake_is_sent_once(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            r.simulator.trouble = TROUBLES["bad_request"]
            status, _, _ = await r.post(r.request())
            assert status == 400
            assert len(r.simulator.log.records) == 1

    asyncio.run(main())


# --- perhaps billed


async def cut_then_well(r: Rig, body: object) -> tuple[int, dict[str, str], bytes]:
    """The provider breaks off the first answer and gives a whole one to the second attempt."""
    asking = asyncio.create_task(r.post(body))
    await r.until(lambda: bool(r.simulator.log.records))
    r.simulator.script = script(says(100))
    return await asking


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_before_its_first_event_stays_charged_and_is_asked_for_again(rig: RigMaker, stream: bool) -> None:  # noqa: FBT001  (a parameter of pytest)
    """It was billed: its whole hold is uncertain, the second attempt has a hold of its own."""

    async def main() -> None:
        async with rig(one(cut=0), backoff_s=0.2) as r:
            status, _, body = await cut_then_well(r, r.request(stream=stream))
            assert status == 200
            assert b"Yes." in body
            await r.settled()
            first, second = r.entries()
            assert (first.kind, second.kind) == ("uncertain", "settled")
            assert first.uncertain == first.held_at_first
            assert r.charged() >= r.simulator.meter.total()
            assert r.balance().held == ZERO

    asyncio.run(main())


def test_a_stream_that_is_nothing_but_an_error_is_asked_for_again(rig: RigMaker) -> None:
    """`overloaded_error` as the first event of a 200: the client has seen nothing of it."""

    async def main() -> None:
        async with rig(one(error_event=TROUBLES["overloaded"], error_after=0), backoff_s=0.2) as r:
            status, _, body = await cut_then_well(r, r.request(stream=True))
            assert status == 200
            assert b"overloaded" not in body
            assert body.endswith(b'"type":"message_stop"}\n\n')
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["uncertain", "settled"]

    asyncio.run(main())


def test_a_stream_that_stays_an_error_reaches_the_client_as_it_is(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(error_event=TROUBLES["overloaded"], error_after=0)) as r:
            status, headers, body = await r.post(r.request(stream=True))
            assert (status, headers["x-should-retry"]) == (200, "false")
            assert body.startswith(b"event: error")
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["uncertain"] * 2

    asyncio.run(main())


def test_no_more_than_two_attempts_may_have_been_billed(rig: RigMaker) -> None:
    """A request that kills its connection each time may not cost a hold for each of six attempts."""

    async def main() -> None:
        async with rig(one(cut=0)) as r:
            status, headers, _ = await r.post(r.request(stream=True))
            assert (status, headers["x-should-retry"]) == (502, "false")
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["uncertain"] * 2

    asyncio.run(main())


def test_an_answer_that_began_is_never_asked_for_again(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(cut=2, events=4)) as r:
            with pytest.raises(aiohttp.ClientPayloadError):
                await r.post(r.request(stream=True))
            await r.settled()
            assert len(r.entries()) == 1

    asyncio.run(main())


def test_a_second_hold_that_does_not_fit_is_refused_and_the_refusal_says_what_went_before(rig: RigMaker) -> None:
    """The first attempt may have been billed, so its money is not there for the second."""

    async def main() -> None:
        async with rig(one(cut=0), cap="0.02") as r:
            status, headers, body = await r.post(r.request(stream=True))
            message = json.loads(body)["error"]["message"]
            assert (status, headers["x-should-retry"]) == (402, "false")
            assert message.startswith("the provider closed the connection without an answer")
            assert "may have been billed" in message
            assert "raise it with" in message
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["uncertain"]
            assert r.charged() >= r.simulator.meter.total()
            assert len(r.simulator.log.records) == 1

    asyncio.run(main())


# --- what a breaker does


def test_a_storm_opens_the_breaker_and_one_request_closes_it(rig: RigMaker) -> None:
    """While it is open nothing goes out; then one goes out to see, and all that waited go on."""

    async def main() -> None:
        async with rig(breaker=Rules(failures=4, open_s=0.5, most_open_s=0.5), attempts=6, look_s=0.01) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            breakers = r.gateway.service.metered.breakers
            asking = [asyncio.create_task(r.post(r.request(f"question {n}"))) for n in range(8)]
            await r.until(lambda: any(each.state == "open" for each in breakers.standing()))
            await r.until(lambda: not r.gateway.service.exchanges)
            sent = len(r.simulator.log.records)
            r.simulator.trouble = None
            await asyncio.sleep(0)
            assert len(r.simulator.log.records) == sent
            answers = await asyncio.gather(*asking)
            assert {status for status, _, _ in answers} == {200}
            assert breakers.standing() == ()
            await r.settled()
            assert sent <= 8 + 4
            assert r.charged() == r.simulator.meter.total()

    asyncio.run(main())


def test_a_breaker_that_stays_open_refuses_with_the_time_of_its_next_try(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(breaker=Rules(failures=2, open_s=30), attempts=2, retry_s=1) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            await r.post(r.request())
            sent = len(r.simulator.log.records)
            status, headers, body = await r.post(r.request("another"))
            assert (status, headers["x-should-retry"], headers["retry-after"]) == (502, "false", "30")
            assert "provider anthropic failed again and again" in json.loads(body)["error"]["message"]
            assert len(r.simulator.log.records) == sent
            await r.settled()
            assert r.balance().held == ZERO

    asyncio.run(main())


def test_another_key_of_the_same_provider_is_not_held_back(rig: RigMaker) -> None:
    """The breaker is the key's: one that was exchanged begins anew."""

    async def main() -> None:
        async with rig(breaker=Rules(failures=2, open_s=300), attempts=2, retry_s=1) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            await r.post(r.request())
            r.simulator.trouble = None
            assert (await r.post(r.request()))[0] == 502
            r.gateway._upstream._keys["anthropic"] = "sk-ant-fake-another-key"
            assert (await r.post(r.request()))[0] == 200

    asyncio.run(main())


# --- who goes


def test_a_client_that_leaves_between_attempts_causes_none(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(backoff_s=0.4, look_s=0.01) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            asking = asyncio.create_task(r.post(r.request()))
            await r.until(lambda: bool(r.entries()))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert len(r.simulator.log.records) == 1
            assert r.balance().held == ZERO

    asyncio.run(main())


def test_a_key_that_is_revoked_between_attempts_pays_for_none(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(backoff_s=0.4) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            asking = asyncio.create_task(r.post(r.request()))
            await r.until(lambda: bool(r.entries()))
            await r.gateway.revoke(r.key.row.id)
            status, _, _ = await asking
            assert status == 401
            assert len(r.simulator.log.records) == 1

    asyncio.run(main())


def test_a_gateway_that_ends_between_attempts_ends_at_once(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(backoff_s=30) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            asking = asyncio.create_task(r.post(r.request()))
            await r.until(lambda: bool(r.entries()))
            async with asyncio.timeout(5):
                await r.gateway.stop()
                status, _, _ = await asking
            assert status == 503

    asyncio.run(main())


# --- a share of the provider's limits


@asynccontextmanager
async def limited_provider(*remaining: int, resets_in_s: float) -> AsyncIterator[tuple[str, list[float]]]:
    """A provider that tells of its limits: so many of 100 requests are left after each answer."""
    left, asked = list(remaining), list[float]()

    async def answer(http: web.Request) -> web.Response:
        await http.read()
        asked.append(asyncio.get_running_loop().time())
        reset = datetime.now(UTC) + timedelta(seconds=resets_in_s)
        name = "anthropic-ratelimit-requests"
        told = {f"{name}-limit": "100", f"{name}-remaining": str(left.pop(0)), f"{name}-reset": reset.isoformat()}
        usage = {"input_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 5}
        body = {"type": "message", "model": MODEL, "content": [], "stop_reason": "end_turn", "usage": usage}
        return web.json_response(body, headers=told)

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2]), asked
    finally:
        await runner.cleanup()


def test_a_request_waits_for_its_share_of_the_limits(rig: RigMaker) -> None:
    """49 of 100 are left and half belongs to others: the next request goes out when the limit is whole again."""

    async def main() -> None:
        async with (
            limited_provider(50, 49, 99, resets_in_s=0.6) as (url, asked),
            rig(base_url=url, share=50) as r,
        ):
            assert [(await r.post(r.request()))[0] for _ in range(3)] == [200] * 3
            assert asked[1] - asked[0] < 0.5
            assert asked[2] - asked[1] >= 0.55
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["settled"] * 3

    asyncio.run(main())


def test_a_share_that_is_not_there_in_time_is_a_429_with_the_time(rig: RigMaker) -> None:
    """No money is held meanwhile, and none afterwards."""

    async def main() -> None:
        async with limited_provider(49, resets_in_s=30) as (url, _), rig(base_url=url, share=50, wait_s=0.1) as r:
            await r.post(r.request())
            await r.settled()
            spent = r.charged()
            status, headers, body = await r.post(r.request())
            assert (status, headers["retry-after"]) == (429, "30")
            assert "its share of 50% keeps the rest for others" in json.loads(body)["error"]["message"]
            assert len(r.entries()) == 1
            assert r.charged() == spent

    asyncio.run(main())
