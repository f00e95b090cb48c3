"""Whether two texts say the same, by a short fingerprint that leaves out what differs each time: clocks and addresses.

A test that fails in the same way twice prints two durations; for whoever asks whether it is the same answer, it is.
"""

from __future__ import annotations

import hashlib
import re

_LONGEST = 65_536  # letters that are looked at for clocks; the rest is taken as it is
_CLOCKS = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"  # a time stamp
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"  # a time of day
    r"|\b\d+(?:\.\d+)?\s?(?:ms|s|sec|secs|seconds?|\u00b5s|us|ns)\b"  # a duration
    r"|\b0x[0-9a-fA-F]{6,16}\b"  # an address in memory
)


def likeness(*texts: str) -> str:
    """The same for texts that say the same."""
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(_CLOCKS.sub("~", text[:_LONGEST]).encode("utf-8", "surrogatepass"))
        digest.update(text[_LONGEST:].encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
