"""One metered request, whatever becomes of the client or the provider: the ledger is never below the bill."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest

from crewcap.core.money import ZERO, Money
from crewcap.gateway.provider.breaker import Rules
from crewcap.gateway.provider.exchange import Exchange, Forwarding
from crewcap.simulator.script import Script, Step
from crewcap.simulator.troubles import TROUBLES

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker


def one(**step: object) -> Script:
    """A script of one step."""
    return Script(name="one", steps=(Step(name="one", say="Yes.", output_tokens=400, **step),))  # type: ignore[arg-type]  # named as in a script


async def post_broken(r: Rig, body: object) -> bytes:
    """Ask, and take what comes before the connection breaks."""
    got = b""
    headers = {"x-api-key": r.key.secret}
    with suppress(aiohttp.ClientError):
        async with r.http.post(r.gateway.url + "/v1/messages", json=body, headers=headers) as answer:
            async for chunk in answer.content.iter_any():
                got += chunk
    return got


async def hang_up(r: Rig, body: object, *, after_bytes: int) -> None:
    """Ask over a plain socket and close it after so many bytes of the answer."""
    host, port = r.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    if after_bytes:
        await reader.readexactly(after_bytes)
    else:
        await r.until(lambda: bool(r.simulator.meter.bills))
    writer.transport.abort()


@pytest.mark.parametrize("boundary", [0, 1, 2, 3, 5, 7, 8, 9, 10])
def test_a_cut_stream_is_never_booked_below_the_bill(rig: RigMaker, boundary: int) -> None:
    """Prompt exact, output at its limit once the first event was seen; the whole hold before that."""

    async def main() -> None:
        async with rig(one(cut=boundary, events=4)) as r:
            got = await post_broken(r, r.request(stream=True))
            await r.settled()
            meter, entry = r.simulator.meter.total(), r.entries()[0]
            assert meter > ZERO
            assert r.charged() >= meter
            assert r.balance().held == ZERO
            if b"message_stop" not in got:
                assert entry.kind == "uncertain"
                assert (entry.spent > ZERO) == (b"message_start" in got)

    asyncio.run(main())


def test_an_answer_that_was_cut_looks_cut_to_its_client(rig: RigMaker) -> None:
    """A proper end would make half an answer a whole one."""

    async def main() -> None:
        async with rig(one(cut=5, events=4)) as r:
            with pytest.raises(aiohttp.ClientPayloadError):
                await r.post(r.request(stream=True))

    asyncio.run(main())


def test_a_provider_that_takes_the_request_and_says_nothing_keeps_the_whole_hold(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(cut=0), attempts=1) as r:
            status, _, _ = await r.post(r.request(stream=False))
            assert status == 502
            await r.settled()
            assert r.balance().uncertain == r.entries()[0].held_at_first
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())


def test_a_provider_that_cannot_be_reached_costs_nothing(rig: RigMaker) -> None:
    """No byte was written: the hold is released."""

    async def main() -> None:
        async with rig(attempts=2) as r:
            await r.simulator.__aexit__(None, None, None)
            status, headers, _ = await r.post(r.request())
            assert (status, headers["x-should-retry"]) == (502, "false")
            await r.settled()
            assert [entry.kind for entry in r.entries()] == ["released", "released"]
            assert r.charged() == ZERO

    asyncio.run(main())


@pytest.mark.parametrize("after_bytes", [0, 15, 400, 900])
def test_a_client_that_hangs_up_is_drained_and_booked_exactly(rig: RigMaker, after_bytes: int) -> None:
    """Before the first byte or in the middle: the answer is read to its end for the books."""

    async def main() -> None:
        async with rig(one(events=20, pace_ms=5)) as r:
            await hang_up(r, r.request(stream=True), after_bytes=after_bytes)
            await r.settled()
            assert r.entries()[0].kind == "settled"
            assert r.charged() == r.simulator.meter.total()

    asyncio.run(main())


def test_a_client_that_hangs_up_on_a_whole_answer_is_booked_exactly(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(events=5, pace_ms=5)) as r:
            await hang_up(r, r.request(stream=False), after_bytes=0)
            await r.settled()
            assert r.charged() == r.simulator.meter.total() > ZERO

    asyncio.run(main())


def test_a_drain_does_not_last_for_ever(rig: RigMaker) -> None:
    """After `drain_s` the answer is closed; its output stays charged at the limit."""

    async def main() -> None:
        async with rig(one(hang=3), drain_s=0.1, look_s=0.02) as r:
            await hang_up(r, r.request(stream=True), after_bytes=400)
            await r.settled()
            entry = r.entries()[0]
            assert entry.kind == "uncertain"
            assert "did not end in time" in entry.reason
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())


def test_a_silent_provider_is_given_up_by_our_own_clock(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(hang=3), idle_s=0.1) as r:
            got = await post_broken(r, r.request(stream=True))
            await r.settled()
            assert b"message_start" in got
            assert "silent" in r.entries()[0].reason
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())


def test_the_hold_shrinks_at_the_first_event(rig: RigMaker) -> None:
    """Early release: while the answer is written, the prompt is held at what it cost and no longer at its bound."""

    async def main() -> None:
        async with rig(one(hang=3), drain_s=0.1, look_s=0.02, release_s=0.02) as r:
            asking = asyncio.create_task(post_broken(r, r.request("word " * 2_000, stream=True)))
            by_bytes = Money.usd("0.030")  # what 10,000 bytes alone are held at
            await r.until(lambda: ZERO < r.balance().held < by_bytes)
            asking.cancel()
            await r.settled()
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["bad_request", "not_found", "too_large", "rate_limit", "api_error", "overloaded"])
def test_a_plain_error_passes_and_is_free(rig: RigMaker, name: str) -> None:
    """The provider bills no plain error, so its hold is released; the agent sees what it can act on."""

    async def main() -> None:
        async with rig(attempts=1) as r:
            r.simulator.trouble = TROUBLES[name]
            status, headers, body = await r.post(r.request(stream=True))
            assert status == TROUBLES[name].status
            assert json.loads(body)["error"]["message"] == TROUBLES[name].message
            assert headers.get("retry-after") == TROUBLES[name].headers.get("retry-after")
            await r.settled()
            assert r.charged() == ZERO
            assert r.balance().held == ZERO

    asyncio.run(main())


def test_the_same_request_failing_again_and_again_is_told_to_stop(rig: RigMaker) -> None:
    """An agent's own retries last three minutes; after six failures of one body there is nothing to wait for."""

    async def main() -> None:
        async with rig(attempts=1, breaker=Rules(failures=100)) as r:
            r.simulator.trouble = TROUBLES["overloaded"]
            advice = [(await r.post(r.request()))[1].get("x-should-retry") for _ in range(6)]
            assert advice == [None] * 5 + ["false"]
            assert (await r.post(r.request("another")))[1].get("x-should-retry") is None

    asyncio.run(main())


def test_an_error_event_inside_a_stream_passes_and_keeps_the_output_charged(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(one(error_event=TROUBLES["overloaded"], error_after=3)) as r:
            got = await post_broken(r, r.request(stream=True))
            assert b"overloaded_error" in got
            await r.settled()
            assert r.entries()[0].kind == "uncertain"
            assert "overloaded_error" in r.entries()[0].reason
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())


LIES = ("usage-above-bound", "output-above-limit", "dearer-model", "dearer-tier", "dearer-speed", "no-usage")
BROKEN = [*((lie, stream) for lie in LIES for stream in (True, False)), ("usage-going-down", True)]


@pytest.mark.parametrize(("lie", "stream"), BROKEN)
def test_a_provider_that_breaks_its_law_is_booked_in_full_and_frozen(rig: RigMaker, lie: str, *, stream: bool) -> None:
    """MONEY 2.7: an incident stops every capped key at that provider until somebody has looked."""

    async def main() -> None:
        async with rig(provider={"lie": lie}) as r:
            await post_broken(r, r.request(stream=stream))
            await r.settled()
            entry = r.entries()[0]
            assert r.charged() >= r.simulator.meter.total()
            if lie == "no-usage":
                assert entry.kind == "uncertain"
                return
            assert entry.incident
            status, _, body = await r.post(r.request())
            assert status == 402
            assert "broke" in json.loads(body)["error"]["message"]
            assert r.gateway.freezer.thaw("anthropic")

    asyncio.run(main())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
        b"\x00" * 9,
    ],
    ids=["nothing", "only the head", "no HTTP"],
)
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_provider_that_speaks_no_sense_keeps_the_whole_hold(rig: RigMaker, said: bytes, *, is_closed: bool) -> None:
    """The body was sent: it may have been worked on, and nobody says what it cost."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
            if not is_closed:
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with rig(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", idle_s=0.1) as r:
            await post_broken(r, r.request(stream=True))
            await r.settled()
            entry = r.entries()[0]
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)
            assert entry.reason
        server.close()

    asyncio.run(main())


def test_redirects_are_not_followed(rig: RigMaker) -> None:
    """A provider's address is fixed; what it points to is not."""

    async def main() -> None:
        asked: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:9/elsewhere\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with rig(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as r:
            status, headers, body = await r.post(r.request())
            assert (status, headers.get("location")) == (502, None)
            assert "redirects" in json.loads(body)["error"]["message"]
            await r.settled()
            assert len(asked) == 1
            assert r.charged() == ZERO
        server.close()

    asyncio.run(main())


def alive(kind: type) -> list[object]:
    """What there is of a kind in this process."""
    return [each for each in gc.get_objects() if isinstance(each, kind)]


def test_what_was_sent_is_not_kept_while_its_answer_comes(rig: RigMaker) -> None:
    """It is a second copy of the request, and a stream goes on for minutes."""

    async def main() -> None:
        gc.collect()  # what errors of earlier tests kept
        async with rig(one(events=20, pace_ms=20)) as r:
            headers = {"x-api-key": r.key.secret}
            url = r.gateway.url + "/v1/messages"
            async with r.http.post(url, json=r.request(stream=True), headers=headers) as answer:
                await answer.content.readany()
                assert r.gateway.service.exchanges
                assert not alive(Forwarding)
                await answer.read()

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_of_a_request_waits_for_the_garbage_collector(rig: RigMaker, stream: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """Bodies are large: one that is held by a circle of references stays in memory long after its answer."""

    async def main() -> None:
        async with rig() as r:
            gc.collect()
            gc.disable()
            try:
                before = alive(Exchange)
                status, _, _ = await r.post(r.request(stream=stream))
                assert status == 200
                await r.settled()
                assert len(alive(Exchange)) == len(before)
            finally:
                gc.enable()

    asyncio.run(main())
