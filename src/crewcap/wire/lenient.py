"""What a provider tells in its answers, read however badly it is written.

A request is read strictly, because two readers must not differ on it. An answer is the bill: whatever it can mean is
kept, and what it should not say is a doubt of whoever reads it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

MOST_TOKENS = 1_000_000_000
MOST_RAW_USAGE = 8_192  # characters kept for the audit


def parsed(data: bytes) -> Any:
    """Decode what a provider says, however badly; None where it is no JSON at all."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return json.loads(data.decode(errors="replace"))  # takes NaN and broken UTF-8, which msgspec does not
    except (ValueError, RecursionError):
        return None


def is_count(value: Any) -> bool:
    """Whether a figure is a whole number from zero to a thousand million."""
    return type(value) is int and 0 <= value <= MOST_TOKENS


def least_count(value: Any) -> int | None:
    """The least that a badly written figure can mean; None where it means nothing."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return math.ceil(number) if 0 <= number <= MOST_TOKENS else None


def word(value: Any) -> str:
    """A string, or '' where it is something else."""
    return value if isinstance(value, str) else ""


def shown(raw: dict[str, Any]) -> str:
    """The provider's own words for the audit, cut where they are too long."""
    try:
        plain = msgspec.json.encode(raw)
        if b"null" not in plain:  # which NaN would be, too
            return plain.decode()[:MOST_RAW_USAGE]
    except (UnicodeEncodeError, RecursionError):
        pass
    try:
        return json.dumps(raw, separators=(",", ":"))[:MOST_RAW_USAGE]
    except (ValueError, RecursionError):
        return ""


def short(value: Any) -> str:
    """A value as it stands in the sentence of a doubt."""
    return json.dumps(value)[:40] if isinstance(value, (int, float, str)) else f"a {type(value).__name__}"
