"""What a provider tells in its answers, read however badly it is written.

A request is read strictly, because two readers must not differ on it. An answer is the bill: whatever it can mean is
kept, and what it should not say is a doubt of whoever reads it. Where it says the same figure twice, decoders take the
last word; here it is the most that counts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec

MOST_TOKENS = 1_000_000_000
TWICE = "the answer tells its usage twice, and differently"
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


@dataclass(frozen=True, slots=True)
class Figures:
    """How an API spells what a bill is made of, as keys of its JSON; each stands once in what tells of one bill."""

    usage: bytes  # the key of the object that all others are in
    names: tuple[bytes, ...]

    def may_contradict(self, data: bytes) -> bool:
        """Whether one of them may stand there twice: they are counted, and a key may be spelt in escapes."""
        at = max(0, data.find(self.usage))
        if data.count(self.usage, at) > 1 or data.find(b"\\u00", at) >= 0:
            return True
        for name in self.names:  # noqa: SIM110  (no generator: this is asked of every answer)
            if data.count(name, at) > 1:
                return True
        return False


_REBATES = frozenset({"cached_tokens", "cachedContentTokenCount"})
"""Parts of the prompt that make it cheaper."""


class Contradictory(dict[str, Any]):
    """An object that says something twice, and differently; or one in which that is said."""


def bill(data: bytes, figures: Figures) -> Any:
    """`parsed`, for what may tell of a bill: of what is said twice the most, in an object that is `Contradictory`."""
    if not figures.may_contradict(data):
        return parsed(data)
    try:
        return json.loads(data.decode(errors="replace"), object_pairs_hook=_dearest)
    except (ValueError, RecursionError):
        return None


def _dearest(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    is_torn = False
    for key, value in pairs:
        differs = key in said and said[key] != value
        said[key] = _dearer(key, said[key], value) if differs else said.get(key, value)
        is_torn |= differs or is_contradictory(value)
    return Contradictory(said) if is_torn else said


def is_contradictory(value: Any) -> bool:
    """Whether something in it is said twice, and differently."""
    if isinstance(value, list):
        return any(is_contradictory(each) for each in value)
    return isinstance(value, Contradictory)


def _dearer(key: str, first: Any, then: Any) -> Any:
    """Of two words on the same thing the one that may cost more; of two objects every member's."""
    if isinstance(first, dict) or isinstance(then, dict):
        both = [word for each in (first, then) if isinstance(each, dict) for word in each.items()]
        return Contradictory(_dearest(both))
    if is_count(first) and is_count(then):
        return min(first, then) if key in _REBATES else max(first, then)
    return first if is_count(first) else then


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
