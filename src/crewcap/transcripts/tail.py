"""Reading what was appended to a file, in blocks of whole lines, with one buffer for all files.

Reading begins where the last full line ended. Whether that part of the file is still the same is told by a checksum of
the bytes right before; where it is not, or the file is shorter than it was, it is read from its beginning. A last line
without an end is handed over as well (the agent may never write another), but is read again the next time.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from crewcap.transcripts import Block

BUFFER_BYTES = 1 << 18  # what is read is still in the processor's own memory when it is decoded
LONGEST_LINE = 1 << 28  # 256 MB; what is longer is no line of any agent
_CHECKED = 1_024  # bytes before the place where reading goes on


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on: after the last full line."""

    offset: int = 0
    check: int = 0  # of the bytes before it


class Changed(Exception):
    """The file is not the one that was read before; it has to be read whole."""


@dataclass(slots=True)
class Buffer:
    """The memory that every file is read into; it grows for a long line."""

    data: bytearray = field(default_factory=lambda: bytearray(BUFFER_BYTES))

    def grow(self) -> bool:
        """Twice the room; False where no line may be so long."""
        if len(self.data) >= LONGEST_LINE:
            return False
        self.data = self.data + bytes(len(self.data))  # a new one: views of the old one may be held
        return True


class Tail:
    """One open file."""

    def __init__(self, path: str, buffer: Buffer, since: Place = Place()) -> None:
        self._buffer = buffer
        self.problem = ""
        self.is_torn = False  # it ends in the middle of a line
        # Neither waits for a pipe nor becomes ours: what is no regular file is refused before it is read.
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            self.size = self._size()
            self._compare(since)
        except BaseException:
            self.close()
            raise
        self._offset = since.offset
        self.goes_on = since.offset > 0  # its beginning was read before

    def blocks(self) -> Iterator[Block]:
        """Whole lines from the place on, then what is left without an end; nothing that is written meanwhile."""
        kept, left = 0, self.size - self._offset
        while left > 0:
            data = self._buffer.data
            count = os.preadv(self._fd, [memoryview(data)[kept : kept + left]], self.size - left)
            if not count:
                break  # it became shorter
            end = data.rfind(b"\n", kept, kept + count) + 1
            kept, left = kept + count, left - count
            if end:
                self._offset += end
                yield Block(data, 0, end)
                kept -= end
                data[:kept] = data[end : end + kept]
            elif kept == len(data) and not self._buffer.grow():
                self.problem = "a line of more than 256 MB: not read on"
                return
        if kept:
            self.is_torn = True
            yield Block(self._buffer.data, 0, kept)

    def whole(self) -> Iterator[Block]:
        """All of it at once; nothing of a file that is too long for that."""
        if self.size > LONGEST_LINE:
            self.problem = "a file of more than 256 MB: not read"
            return
        data = bytearray(self.size)
        kept = 0
        while kept < self.size and (count := os.preadv(self._fd, [memoryview(data)[kept:]], kept)):
            kept += count
        yield Block(data, 0, kept)

    def place(self) -> Place:
        """Where to go on the next time."""
        return Place(self._offset, self._check(self._offset))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _size(self) -> int:
        about = os.fstat(self._fd)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "no file: a pipe or a device")
        return about.st_size

    def _compare(self, since: Place) -> None:
        """What was read must still be there."""
        if since.offset and (self.size < since.offset or self._check(since.offset) != since.check):
            raise Changed

    def _check(self, offset: int) -> int:
        length = min(offset, _CHECKED)
        return zlib.crc32(os.pread(self._fd, length, offset - length)) if length else 0
