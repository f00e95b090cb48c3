"""What providers say, read however badly it is written, and what about it cannot be believed.

A request is refused where readers could differ; an answer is a bill, and is read as far as it can be: better charged
and doubted than lost.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

MOST_TOKENS = 1_000_000_000
MOST_RAW_USAGE = 8_192  # characters kept for the audit
MOST_DOUBTS = 10


@dataclass(slots=True)
class Doubts:
    """Why an answer's figures cannot be taken at their word, each said once."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """One more, while there are few."""
        if sentence not in self.sentences and len(self.sentences) < MOST_DOUBTS:
            self.sentences.append(sentence)

    def count(self, value: Any, name: str) -> int | None:
        """A figure, or the least that a badly written one can mean; None where it means nothing."""
        if type(value) is int and 0 <= value <= MOST_TOKENS:
            return value
        self.add(f"{name} is {short(value)}")
        try:
            number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            return None
        return math.ceil(number) if 0 <= number <= MOST_TOKENS else None

    def __str__(self) -> str:
        return "; ".join(self.sentences)


def decode(data: bytes) -> Any:
    """Decode what a provider says, however badly; None where it is no JSON at all."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return json.loads(data.decode(errors="replace"))  # takes NaN and broken UTF-8, which msgspec does not
    except (ValueError, RecursionError):
        return None


def word(value: Any) -> str:
    """A text, or nothing."""
    return value if isinstance(value, str) else ""


def shown(raw: dict[str, Any]) -> str:
    """The provider's own words, for the audit."""
    try:
        return json.dumps(raw, separators=(",", ":"))[:MOST_RAW_USAGE]
    except (ValueError, RecursionError):
        return ""


def short(value: Any) -> str:
    """A value as it may stand in a sentence."""
    return json.dumps(value)[:40] if isinstance(value, (int, float, str)) else f"a {type(value).__name__}"
