"""A pack is weighed as git would unpack it, without unpacking it."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from tests.workspaces.repos import PLAIN, git, make_repository

from crewcap.workspaces.repository.packs import Damaged, Weight, weigh

TIB = 1 << 40


def _object(kind: int, content: bytes, *, claims: int | None = None, before: bytes = b"") -> bytes:
    size = len(content) if claims is None else claims
    first, size = kind << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    return bytes([*head, first]) + before + zlib.compress(content)


def _pack(*objects: bytes) -> memoryview:
    return memoryview(b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects) + bytes(20))


def _number(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def test_it_counts_what_git_counts(tmp_path: Path) -> None:
    """A real pack, with deltas of both kinds and an object larger than a piece."""
    user = make_repository(tmp_path / "shop")
    chance = random.Random(1)
    (user / "large").write_bytes(chance.randbytes(3 << 20))
    for number in range(20):
        (user / "text").write_text("\n".join(f"{line} {number if line == 70 else 0}" for line in range(3_000)))
        git(user, "add", ".")
        git(user, "commit", "--quiet", "-m", f"{number}")
    listed = git(user, "cat-file", "--batch-all-objects", "--batch-check=%(objectsize)").split()
    git(user, "repack", "-adq")
    for words in (["--delta-base-offset"], []):
        command = ["git", "pack-objects", "--all", "--stdout", "--quiet", *words]
        pack = subprocess.run(command, cwd=user, env=PLAIN, capture_output=True, check=True, stdin=subprocess.DEVNULL)
        weight = weigh(memoryview(pack.stdout), id_bytes=20, most_bytes=TIB)
        assert (weight.objects, weight.largest) == (len(listed), 3 << 20)
        assert weight.total >= sum(map(int, listed))


def test_a_delta_counts_by_what_it_makes() -> None:
    """Twenty bytes that copy one block over and over."""
    delta = _number(1 << 16) + _number(TIB) + b"\x80" * 10
    pack = _pack(_object(3, bytes(1 << 16)), _object(7, delta, before=bytes(20)))
    assert weigh(pack, id_bytes=20, most_bytes=TIB).largest == TIB


def test_it_ends_as_soon_as_it_is_too_much() -> None:
    weight = weigh(_pack(*[_object(3, bytes(1_000))] * 50), id_bytes=20, most_bytes=10_000)
    assert weight == Weight(objects=6, largest=1_000, total=12_000)


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        b"PACK",
        b"KCAP" + bytes(40),
        b"PACK" + struct.pack(">II", 2, 1),
        b"PACK" + struct.pack(">II", 2, 1) + b"\xff" * 30,
        bytes(_pack(_object(3, b"x" * 100, claims=5))),
        bytes(_pack(_object(3, b"x" * 100)))[:20],
        bytes(_pack(_object(6, b"\xff", before=b"\xff" * 9 + b"\x01"))),
        b"PACK" + struct.pack(">II", 2, 1) + b"\x31not zlib at all",
    ],
)
def test_what_is_no_pack_is_said_to_be_none(pack: bytes) -> None:
    with pytest.raises(Damaged):
        weigh(memoryview(pack), id_bytes=20, most_bytes=TIB)
