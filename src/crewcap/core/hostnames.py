"""Host names as lists write them: `*` stands for any part of a name, `+` for any part between two dots."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LONGEST = 253


def is_name(text: str) -> bool:
    """Whether a text is the name of a host: lower case, at least one dot, no address in any notation, no final dot."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


def covers(pattern: str, host: str) -> bool:
    """Whether a host's name fits a pattern: `pypi.org`, `*.example.org` (whatever is below), `+.example.org`."""
    return meets(pattern, host)


def covered(host: str, patterns: Iterable[str]) -> bool:
    """Whether one of them covers the host."""
    return any(covers(pattern, host) for pattern in patterns)


def meets(one: str, other: str) -> bool:
    """Whether there is a name that fits both patterns."""

    @functools.cache
    def rest(i: int, j: int) -> bool:
        if i == len(one) or j == len(other):
            return set(one[i:] + other[j:]) <= {"*", "+"}
        if one[i] == "*" or (one[i] == "+" and other[j] != "."):
            return rest(i + 1, j) or rest(i, j + 1)
        if other[j] == "*" or (other[j] == "+" and one[i] != "."):
            return rest(i, j + 1) or rest(i + 1, j)
        if "+" in {one[i], other[j]}:  # at a dot it is at its end
            return rest(i + (one[i] == "+"), j + (other[j] == "+"))
        return one[i] == other[j] and rest(i + 1, j + 1)

    return rest(0, 0)
