"""A provider that says nothing: our own clock ends it, a ping does not let it run out, and no library has a say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from tests.gateway.conftest import MODEL

from crewcap.core.money import ZERO
from crewcap.simulator.script import Script, Step

if TYPE_CHECKING:
    from tests.gateway.conftest import RigMaker

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 1}


def event(kind: str, **said: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **said})}\n\n".encode()


START = event("message_start", message={"model": MODEL, "usage": USAGE})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}) + event("message_stop")


@asynccontextmanager
async def streaming(*parts: bytes | float) -> AsyncIterator[str]:
    """A provider that sends these parts, and waits where a number stands."""

    async def answer(http: web.Request) -> web.StreamResponse:
        await http.read()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(http)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await asyncio.sleep(part)
        return response

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def hanging(at: int) -> Script:
    return Script(name="hang", steps=(Step(name="hang", say="Yes.", output_tokens=400, hang=at),))


def test_pings_pass_and_keep_a_slow_answer_alive(rig: RigMaker) -> None:
    """Six times 0.15 s of thinking is longer than the clock allows, one of them is not."""

    async def main() -> None:
        thinking = [part for _ in range(6) for part in (PING, 0.15)]
        async with streaming(START, *thinking, END) as url, rig(base_url=url, idle_s=0.5, look_s=0.05) as r:
            status, _, body = await r.post(r.request(stream=True))
            assert status == 200
            assert body.count(PING) == 6
            await r.settled()
            assert r.entries()[0].kind == "settled"

    asyncio.run(main())


def test_while_the_provider_is_silent_the_client_is_pinged(rig: RigMaker) -> None:
    """Proxies and clients give up on a connection that says nothing; a provider that thinks does not mean to."""

    async def main() -> None:
        half = len(END) - 20
        parts = (START, 0.3, END[:half], 0.3, END[half:])
        async with streaming(*parts) as url, rig(base_url=url, idle_s=5, look_s=0.02, ping_s=0.05) as r:
            status, _, body = await r.post(r.request(stream=True))
            assert status == 200
            assert body.startswith(START + PING)
            assert body.endswith(END)  # nothing is said inside of an event
            assert body.replace(PING, b"") == START + END
            await r.settled()
            assert r.entries()[0].kind == "settled"

    asyncio.run(main())


def test_the_same_answer_without_pings_is_ended_by_our_clock(rig: RigMaker) -> None:
    """Its prompt is booked exactly, its output at the limit."""

    async def main() -> None:
        async with streaming(START, 5.0, END) as url, rig(base_url=url, idle_s=0.2, look_s=0.05) as r:
            with pytest.raises(aiohttp.ClientPayloadError):
                await r.post(r.request(stream=True))
            await r.settled()
            entry = r.entries()[0]
            assert (entry.kind, entry.reason) == ("uncertain", "the provider was silent for too long")
            assert entry.spent > ZERO

    asyncio.run(main())


@pytest.mark.parametrize(
    ("say", "silence"),
    [
        (lambda: streaming(5.0, START, END), "between its head and its first event"),
        (lambda: streaming(START[:30], 5.0), "in the middle of its first event"),
    ],
)
def test_a_silence_before_the_first_event_is_no_answer(rig: RigMaker, say: Callable[[], Any], silence: str) -> None:
    """No status line was sent yet, so the client gets a refusal in place of a stream that breaks."""
    del silence

    async def main() -> None:
        async with say() as url, rig(base_url=url, idle_s=0.2, look_s=0.05, attempts=1) as r:
            status, _, body = await r.post(r.request(stream=True))
            assert status == 502
            assert "broke off before the first event" in json.loads(body)["error"]["message"]
            await r.settled()
            entry = r.entries()[0]
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)
            assert entry.reason == "the provider was silent for too long"

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_a_silence_before_the_head_is_bounded(rig: RigMaker, *, stream: bool) -> None:
    """Twice as long where the whole answer is made before its first byte; the hold stays charged."""

    async def main() -> None:
        async with rig(hanging(0), idle_s=0.1, look_s=0.02, attempts=1) as r:
            async with asyncio.timeout(5):
                status, _, _ = await r.post(r.request(stream=stream))
            assert status == 502
            await r.settled()
            entry = r.entries()[0]
            assert (entry.kind, entry.uncertain) == ("uncertain", entry.held_at_first)
            assert entry.reason == "the provider was silent for too long"

    asyncio.run(main())


def test_a_silence_that_lasted_as_long_as_all_attempts_may_is_not_tried_again(rig: RigMaker) -> None:
    """Five minutes of silence, twice, would be ten for the client, and money for two that nobody can prove."""

    async def main() -> None:
        async with rig(hanging(0), idle_s=0.2, look_s=0.02, retry_s=0.1) as r:
            status, headers, _ = await r.post(r.request(stream=True))
            assert status == 502
            assert headers["x-should-retry"] == "false"
            await r.settled()
            assert len(r.entries()) == 1

    asyncio.run(main())


def test_no_clock_of_the_librarys_ends_a_long_answer(rig: RigMaker) -> None:
    """aiohttp's own would end every answer after five minutes."""

    async def main() -> None:
        async with rig() as r:
            session = r.gateway._upstream._session
            assert session is not None
            timeouts = session.timeout
            assert (timeouts.total, timeouts.sock_read, timeouts.connect) == (None, None, None)

    asyncio.run(main())
