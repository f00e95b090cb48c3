"""Weighing a pack before git unpacks it: how much its objects would be, by what each of them says of itself. No I/O.

A pack of a megabyte can stand for terabytes, by compression and by deltas that copy one block over and over. Git asks
for none of that beforehand. So we go through the pack once, in bounded memory: each object's own size stands in its
head, and that of a delta's result in the first bytes of the delta.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_HEAD = 12
_OFFSET_DELTA, _REFERENCE_DELTA = 6, 7
_PIECE = 1 << 20
_SLACK = 256  # what compression may add to something small
_NUMBERS = 32  # bytes in which a delta's two sizes stand
_MORE, _LOW = 0x80, 0x7F


class Damaged(ValueError):
    """It is no pack, or a broken one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a pack would be unpacked."""

    objects: int
    largest: int
    total: int


def weigh(pack: memoryview, *, id_bytes: int, most_bytes: int) -> Weight:
    """Every object's size; ends early, with what was counted, as soon as the total is more than `most_bytes`."""
    if len(pack) < _HEAD or bytes(pack[:4]) != b"PACK":
        raise Damaged("it has no pack")
    count = int.from_bytes(pack[8:12], "big")
    at, largest, total = _HEAD, 0, 0
    for number in range(count):
        kind, size, at = _object_head(pack, at)
        if kind == _OFFSET_DELTA:
            at = _skip_number(pack, at)
        elif kind == _REFERENCE_DELTA:
            at += id_bytes
        start, at = _inflate(pack, at, size)
        unpacked = _result_size(start) if kind in {_OFFSET_DELTA, _REFERENCE_DELTA} else size
        largest, total = max(largest, unpacked), total + unpacked + size
        if total > most_bytes:
            return Weight(objects=number + 1, largest=largest, total=total)
    return Weight(objects=count, largest=largest, total=total)


def _object_head(pack: memoryview, at: int) -> tuple[int, int, int]:
    """(kind, size, where it goes on)."""
    byte = _byte(pack, at)
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & _MORE:
        at += 1
        byte = _byte(pack, at)
        size |= (byte & _LOW) << shift
        shift += 7
    return kind, size, at + 1


def _skip_number(pack: memoryview, at: int) -> int:
    while _byte(pack, at) & _MORE:
        at += 1
    return at + 1


def _inflate(pack: memoryview, at: int, size: int) -> tuple[bytes, int]:
    """(its first bytes, where the next object begins); never more in memory than a piece."""
    unpacker = zlib.decompressobj()
    start, seen, left = b"", 0, b""
    while not unpacker.eof:
        if not left:
            left = bytes(pack[at : at + min(_PIECE, size - seen + _SLACK)])
            at += len(left)
        if not left:
            raise Damaged("it was cut short")
        try:
            some = unpacker.decompress(left, _PIECE)
        except zlib.error as error:
            raise Damaged("it cannot be unpacked") from error
        left = unpacker.unconsumed_tail
        start, seen = start or some[:_NUMBERS], seen + len(some)
        if seen > size:
            raise Damaged("an object is larger than it says")
    return start, at - len(unpacker.unused_data) - len(left)


def _result_size(delta: bytes) -> int:
    """The second number of a delta; the first is the size of what it starts from."""
    view = memoryview(delta)
    at = _skip_number(view, 0)
    size = shift = 0
    while True:
        byte = _byte(view, at)
        size |= (byte & _LOW) << shift
        if not byte & _MORE:
            return size
        at, shift = at + 1, shift + 7


def _byte(view: memoryview, at: int) -> int:
    if at >= len(view):
        raise Damaged("it was cut short")
    return view[at]
