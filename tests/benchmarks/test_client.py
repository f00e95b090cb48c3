"""The speed bench's own client and provider, against each other."""

from __future__ import annotations

import asyncio

from benchmarks.client import Client, request
from benchmarks.provider import EVENTS, MESSAGE, MESSAGE_EVENTS, Connection
from benchmarks.speed import body

from crewcap.wire.anthropic_meter import StreamMeter, WholeMeter


async def asked(*bodies: bytes) -> list[tuple[int, int]]:
    """Status and size of each answer, over one connection."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Client(port)
    timings = [await client.ask(request("/v1/messages", {"x-api-key": "x"}, sent)) for sent in bodies]
    client.close()
    server.close()
    return [(timing.status, timing.size) for timing in timings]


def test_a_client_knows_when_an_answer_is_whole() -> None:
    """Whether it comes in one piece or in chunks, one after another on one connection."""
    call, burst, again = asyncio.run(asked(body("call"), body("burst"), body("call")))
    assert call == again == (200, len(MESSAGE))
    assert burst[0] == 200
    assert burst[1] > sum(len(event) for event in MESSAGE_EVENTS)


def test_a_paced_stream_takes_its_time_and_is_the_same() -> None:
    """The last event of a stream is not waited for in vain."""
    burst, paced = asyncio.run(asked(body("burst"), body("paced")))
    assert burst == paced


def test_the_providers_answers_are_such_as_the_gateway_reads() -> None:
    """500 tokens in and 300 out, by stream and in one piece."""
    stream, one = StreamMeter("none"), WholeMeter("none")
    for event in MESSAGE_EVENTS:
        stream.feed(event.partition(b"\r\n")[2].removesuffix(b"\r\n"))
    one.feed(MESSAGE.partition(b"\r\n\r\n")[2])
    for reading in (stream.close(), one.close()):
        assert reading.usage is not None
        assert (reading.usage.input, reading.usage.output, reading.is_complete) == (500, 300, True)
    assert len(MESSAGE_EVENTS) == EVENTS
