"""The prompt cache of the provider: exact prefixes, for each key and model, with two lifetimes.

A cache mark on a block asks that everything up to and including it be kept for 5 minutes or an hour. A later request
reads the longest kept prefix that ends at one of its own marks or at most 20 blocks before one. What is read, what is
written and the fresh rest never overlap:

    |<------ read ------>|<-- 1 h write -->|<-- 5 min write -->|<-- fresh -->|
    0              longest hit       last 1 h mark          last mark        end

A read renews the lifetime. Prefixes below 1,024 tokens are not kept.

OpenAI and Gemini keep prefixes unasked (`read_unasked`): every one that ends with a block, for half an hour or, where a
request says so, twelve hours. Newer models of OpenAI's bill what is written, as all that was not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from crewcap.core.pricing import Usage
from crewcap.simulator.conversation import BadRequest, Block, Mark
from crewcap.simulator.tokens import REQUEST_TOKENS

LOOKBACK_BLOCKS = 20
LEAST_TOKENS = 1_024
MOST_MARKS = 4
LIFETIME = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1)}
UNASKED = {"": timedelta(minutes=30), "5m": timedelta(minutes=30), "1h": timedelta(hours=12)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a prompt is billed as, and the prefixes that answering it keeps."""

    usage: Usage  # no output yet
    kept: tuple[tuple[bytes, timedelta], ...]


class PromptCache:
    """Kept prefixes with the instant at which each is forgotten."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._expiry: dict[bytes, datetime] = {}
        self._lifetime: dict[bytes, timedelta] = {}

    def read(self, owner: str, blocks: Sequence[Block]) -> Prompt:
        """Split a prompt into read, written and fresh. Keeps nothing: `keep` does, when the answer begins."""
        _check(blocks)
        sizes = list(accumulate((block.tokens for block in blocks), initial=0))
        prefixes = _prefixes(owner, blocks)
        ends = [n for n, block in enumerate(blocks, 1) if block.mark and sizes[n] >= LEAST_TOKENS]
        hit = max((n for n in _reachable(ends) if sizes[n] >= LEAST_TOKENS and self._is_kept(prefixes[n])), default=0)
        last = max(ends, default=0)
        last_1h = max((n for n in ends if blocks[n - 1].mark == "1h"), default=0)
        usage = Usage(
            input=sizes[-1] - sizes[max(last, hit)] + REQUEST_TOKENS,
            cache_read=sizes[hit],
            write_1h=max(0, sizes[last_1h] - sizes[hit]),
            write_5m=max(0, sizes[last] - sizes[max(hit, last_1h)]),
        )
        kept = [(prefixes[n], LIFETIME[blocks[n - 1].mark]) for n in ends]
        renewed = [(prefixes[hit], self._lifetime[prefixes[hit]])] if hit else []
        return Prompt(usage=usage, kept=tuple(renewed + kept))

    def read_unasked(self, owner: str, blocks: Sequence[Block], *, write: Mark) -> Prompt:
        """The same where the provider decides what is kept; `write` is the lifetime whose price writing costs."""
        sizes = list(accumulate((block.tokens for block in blocks), initial=0))
        prefixes = _prefixes(owner, blocks)
        ends = [n for n in range(1, len(sizes)) if sizes[n] >= LEAST_TOKENS]
        hit = max((n for n in ends if self._is_kept(prefixes[n])), default=0)
        written = sizes[-1] - sizes[hit] if ends and write else 0
        usage = Usage(
            input=sizes[-1] - sizes[hit] - written + REQUEST_TOKENS,
            cache_read=sizes[hit],
            write_5m=written if write == "5m" else 0,
            write_1h=written if write == "1h" else 0,
        )
        return Prompt(usage=usage, kept=tuple((prefixes[n], UNASKED[write]) for n in ends))

    def keep(self, prompt: Prompt) -> None:
        """Remember what the prompt asked to be kept, and renew what it read."""
        now = self._clock()
        for prefix, lifetime in prompt.kept:
            longest = max(lifetime, self._lifetime[prefix]) if self._is_kept(prefix) else lifetime
            self._lifetime[prefix] = longest
            self._expiry[prefix] = now + longest

    def forget(self) -> None:
        """Start cold."""
        self._expiry.clear()
        self._lifetime.clear()

    def _is_kept(self, prefix: bytes) -> bool:
        expiry = self._expiry.get(prefix)
        return expiry is not None and self._clock() < expiry


def _check(blocks: Sequence[Block]) -> None:
    marks = [block.mark for block in blocks if block.mark]
    if len(marks) > MOST_MARKS:
        raise BadRequest(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {len(marks)}.")
    if "1h" in marks[marks.index("5m") :] if "5m" in marks else False:
        raise BadRequest("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def _prefixes(owner: str, blocks: Sequence[Block]) -> list[bytes]:
    """Digest of every prefix; the owner (key and model) is part of each."""
    running = hashlib.sha256(owner.encode())
    prefixes = [running.digest()]
    for block in blocks:
        running.update(block.digest)
        prefixes.append(running.digest())
    return prefixes


def _reachable(ends: Sequence[int]) -> set[int]:
    """Prefix lengths at which a kept prefix would be found."""
    return {n for end in ends for n in range(max(1, end - LOOKBACK_BLOCKS), end + 1)}
