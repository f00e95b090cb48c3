"""A provider's key that the provider says back, in an error or in an answer: nobody who reads that is to have it.

Looked for are the key's own letters, also as JSON may write them, in whole bodies alone. A stream is passed on as it
comes: whoever would look for a key in it had to hold each piece back until the next one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

REMOVED = b"[secret removed]"
SHORTEST = 6  # a shorter key would take ordinary words out of every answer
REMEMBERED = 8  # keys of one provider; an answer may come when its key has been exchanged


@dataclass(slots=True, repr=False)
class Echoes:
    """Every key that was used lately, by provider."""

    _keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _spellings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def learn(self, provider: str, key: str) -> None:
        """This one may come back."""
        others = [each for each in self._keys.get(provider, ()) if each != key]
        self._keys[provider] = keys = (*others, *([key] if len(key) >= SHORTEST else []))[-REMEMBERED:]
        self._spellings[provider] = tuple({spelling for each in keys for spelling in _spellings(each)})

    def without(self, provider: str, body: bytes) -> bytes:
        """The body with a word in place of the provider's keys; nearly always the very same one."""
        for spelling in self._spellings.get(provider, ()):
            if spelling in body:
                body = body.replace(spelling, REMOVED)
        return body


def _spellings(key: str) -> set[bytes]:
    """As it is, and as JSON has it; nearly all keys have one spelling."""
    quoted = json.dumps(key)[1:-1]
    return {each.encode("utf-8", "surrogateescape") for each in (key, quoted, quoted.replace("/", "\\/"))}
