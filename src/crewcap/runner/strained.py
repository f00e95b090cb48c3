"""What a run's limits have to do with a command that failed, as far as anybody can know.

The kernel tells which of a command's processes it ended for memory, and whether it refused more of them. A write that
it refused only the program knows of, and most say it in the system's own words. A program that gave up by itself
(`MemoryError`, an allocation that Node or a JVM bounds on its own) leaves no sign, and nothing is claimed of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIGNS = {
    re.compile(rb"file too large", re.IGNORECASE): "a file reached its limit on file size, or on disk",
    re.compile(
        rb"no space left on device", re.IGNORECASE
    ): "a temporary folder (4 GiB), /dev/shm (1 GiB) or the disk is full",
}
_LAST_BYTES = 16_384


def strain(limits_met: Sequence[str], output: bytes = b"") -> str:
    """Limits that its failure is probably about, in a few words; empty = none that can be known."""
    met = f"it met its limit on {' and '.join(limits_met)}" if limits_met else ""
    said = [words for sign, words in _SIGNS.items() if sign.search(output[-_LAST_BYTES:])]
    return "; ".join([*([met] if met else []), *(f"it says that {words}" for words in said)])
