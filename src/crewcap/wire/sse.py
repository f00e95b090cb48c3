r"""Server-sent events, cut out of bytes as they come, in any chunks.

Lines end with \n, \r\n or \r; an empty line ends an event; several `data` lines are one, joined by \n; a line that
begins with a colon is a comment. An event that the end of the stream leaves unfinished is given out all the same:
the last thing a provider says may be the bill.
"""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event: its name, empty where none was given, and its data."""

    name: bytes
    data: bytes


class Splitter:
    """Finds the events in a stream; their insides are read by `read`, only for those that matter."""

    def __init__(self) -> None:
        self.is_between = True  # nothing of an event that is not complete is kept
        self._rest = bytearray()
        self._searched = 0
        self._held_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the events that are complete, each as its lines."""
        if b"\r" in chunk or self._held_cr:
            chunk = self._plain_lines(chunk)
        if not self._rest and chunk.endswith(b"\n\n"):
            self.is_between = not self._held_cr
            return [block for block in chunk[:-2].split(b"\n\n") if block]
        self._rest += chunk
        blocks = self._cut()
        self.is_between = not (self._rest or self._held_cr)
        return blocks

    def close(self) -> list[bytes]:
        """The stream is over; return what was begun."""
        rest = bytes(self._rest).strip(b"\n")
        self._rest.clear()
        self._searched = 0
        return [rest] if rest else []

    def _plain_lines(self, chunk: bytes) -> bytes:
        """Make every line end a line feed; a carriage return at the end waits to see what follows it."""
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _cut(self) -> list[bytes]:
        blocks = []
        start = 0
        while (end := self._rest.find(b"\n\n", max(start, self._searched - 1))) >= 0:
            if end > start:
                blocks.append(bytes(self._rest[start:end]))
            start = self._searched = end + 2
        del self._rest[:start]
        self._searched = len(self._rest)
        return blocks


def read(block: bytes) -> Event:
    """The name and the data of one event."""
    name, data = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(data))
