"""The frame of a meter: bytes in, in any chunks; the events or the one body in them are handed on to be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from crewcap.wire import Reading, lenient, sse


class EventMeter(ABC):
    """Cuts a stream into events."""

    def __init__(self, reading: Reading) -> None:
        self._events = sse.Splitter()
        self._reading = reading

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes; return what is known now."""
        if chunk:
            self._begin()
        for block in self._events.feed(chunk):
            self._take(block)
        return self._reading

    def close(self) -> Reading:
        """The stream is over; what it was cut off in the middle of is read as far as it goes."""
        for block in self._events.close():
            self._take(block, cut=True)
        return self._reading

    def _begin(self) -> None:
        """Something came."""
        if not self._reading.has_started:
            self._reading = replace(self._reading, has_started=True)

    @abstractmethod
    def _take(self, block: bytes, *, cut: bool = False) -> None:
        """Read one event, which may have lost its end where the stream was cut."""


class BodyMeter(ABC):
    """Gathers an answer that is one JSON body."""

    def __init__(self, reading: Reading, figures: lenient.Figures) -> None:
        self._pieces: list[bytes] = []  # nearly always one, which is then read where it lies
        self._reading = reading
        self._figures = figures

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes; nothing is known before the last one."""
        self._pieces.append(chunk)
        if chunk and not self._reading.has_started:
            self._reading = replace(self._reading, has_started=True)
        return self._reading

    def close(self) -> Reading:
        """The body is whole, or was cut off: then it is not JSON, and nothing is known."""
        body, self._pieces = b"".join(self._pieces), []
        answer = lenient.bill(body, self._figures)
        if isinstance(answer, dict):
            self._reading = self._read(answer)
        return self._reading

    @abstractmethod
    def _read(self, answer: dict[str, Any]) -> Reading:
        """What a whole body says."""
