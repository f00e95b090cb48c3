"""Withholds from a client the usage chunk that it did not ask for; every other byte goes on as it came.

Whether an event is that chunk is known at its end, so an event that is not complete waits. The chunk is the one that
has a usage and no answer (`"choices": []`); a usage beside an answer is a part of the answer.
"""

from __future__ import annotations

import re

from crewcap.wire import lenient, sse

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")  # a line's end and an empty line


class UsageSieve:
    """One stream's sieve."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that go on now."""
        if not self._rest and _is_quiet(chunk):
            return chunk
        self._rest += chunk
        passed, start = bytearray(), 0
        usable = len(self._rest) - (1 if self._rest.endswith(b"\r") else 0)  # what follows it may belong to it
        while (end := _END.search(self._rest, max(start, self._searched - 3), usable)) is not None:
            passed += _passing(bytes(self._rest[start : end.end()]))
            start = self._searched = end.end()
        del self._rest[:start]
        self._searched = len(self._rest)
        return bytes(passed)

    def close(self) -> bytes:
        """The stream is over: an event without its end is looked at all the same."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._searched = 0
        return _passing(rest)


def _is_quiet(chunk: bytes) -> bool:
    """Whole events that all say that they do not tell the usage: nearly every chunk there is."""
    ends = chunk.endswith(b"\n\n") and b"\r" not in chunk
    return ends and chunk.count(b'"usage"') == chunk.count(b'"usage":null')


def _passing(event: bytes) -> bytes:
    """The event, or only the empty lines before it."""
    if b'"usage"' in event and b'"delta"' not in event and _is_usage_alone(event):
        return event[: len(event) - len(event.lstrip(b"\r\n"))]
    return event


def _is_usage_alone(event: bytes) -> bool:
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    chunk = lenient.parsed(sse.read(lines).data)
    return isinstance(chunk, dict) and isinstance(chunk.get("usage"), dict) and chunk.get("choices") == []
