"""The frame of a meter: whatever the chunks, the same events and the same body are read."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from crewcap.wire import Reading, anthropic_meter, gemini_meter, lenient
from crewcap.wire.frames import BodyMeter, EventMeter

LARGE = 8_000_000


class Events(EventMeter):
    """Writes down what it is given to read."""

    def __init__(self) -> None:
        super().__init__(Reading())
        self.seen: list[tuple[bytes, bool]] = []

    def _take(self, block: bytes, *, cut: bool = False) -> None:
        self.seen.append((block, cut))


class Body(BodyMeter):
    """Takes the answer's name for a model's."""

    def __init__(self) -> None:
        super().__init__(Reading(), lenient.Figures(b'"usage"', ()))

    def _read(self, answer: dict[str, Any]) -> Reading:
        return replace(self._reading, model=answer["name"])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_events_are_handed_on_whole_and_the_last_one_as_far_as_it_goes(size: int) -> None:
    stream, meter = b"data: 1\n\ndata: 2\r\n\r\nda", Events()
    assert not meter.feed(b"").has_started
    readings = [meter.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert all(reading.has_started for reading in readings)
    meter.close()
    assert meter.seen == [(b"data: 1", False), (b"data: 2", False), (b"da", True)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_body_is_read_once_when_it_is_whole(size: int) -> None:
    body, meter = b'{"name": "m"}', Body()
    assert not meter.feed(b"").has_started
    for at in range(0, len(body), size):
        assert meter.feed(body[at : at + size]) == Reading(has_started=True)
    assert meter.close() == Reading(has_started=True, model="m")


@pytest.mark.parametrize("body", [b"", b'{"name": "m', b"[1]", b"7", b"\xff"])
def test_of_what_is_no_object_nothing_is_known(body: bytes) -> None:
    meter = Body()
    meter.feed(body)
    assert meter.close() == Reading(has_started=bool(body))


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_large_body_is_read_where_it_lies(dialect: str) -> None:
    """It may have hundreds of megabytes: beside it there is what is decoded of it, and no copy."""
    meter = anthropic_meter.WholeMeter("none") if dialect == "anthropic" else gemini_meter.WholeMeter(1)
    body = b'{"content": "' + b"x" * LARGE + b'"}'
    tracemalloc.start()
    try:
        meter.feed(body)
        meter.close()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.5 * LARGE
