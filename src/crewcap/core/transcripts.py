"""What transcripts tell of past usage: a second opinion beside the books.

A transcript repeats itself. One answer is several lines, of which the early ones know only a part of the output; a fork
copies the conversation so far; the main conversation echoes what its subagents say. So a *message* has a key that is
the same wherever it is told, and of all that is told about it

    the telling with the most output tokens is believed (a fork may end in the middle of an answer, so the last one
    may know less than an earlier one), and
    the earliest time, with its session, is kept (a copy that was written after midnight does not move the cost to
    another day).

`better` is that rule. It does not matter in which order, or how often, tellings come in: reading a file again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, Usage

NO_PIECES: Mapping[str, int] = {}


class Told(NamedTuple):
    """One message, as one line of a transcript tells it. A tuple, because there are hundreds of thousands of them."""

    key: str  # the same for the same message, whoever tells it: "claude:msg_1:req_1"
    at: int  # milliseconds since 1970, UTC
    session: str
    folder: str  # where the agent worked
    provider: str  # whose prices: "anthropic"
    model: str
    input: int = 0
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0
    thinking: int = 0
    searches: int = 0
    speed: str = "standard"
    geo: str = "global"
    tier: str = "standard"
    is_sub: bool = False  # told by a subagent
    parts: str = ""  # JSON of (model, tokens) where one bill has several, and of pieces beside searches

    @property
    def usage(self) -> Usage:
        """As the price book wants it."""
        return Usage(
            input=self.input,
            cache_read=self.cache_read,
            write_5m=self.write_5m,
            write_1h=self.write_1h,
            output=self.output,
            thinking=self.thinking,
            pieces={"web_search": self.searches} if self.searches else NO_PIECES,
        )

    @property
    def modifiers(self) -> Modifiers:
        """What changed the price, by the answer's own words."""
        return Modifiers(speed=self.speed, geo=self.geo, tier=self.tier)


def better(one: Told, other: Told) -> Told:
    """What two tellings of the same message come to."""
    fuller = other if (other.output, other[6:10]) > (one.output, one[6:10]) else one
    first = other if other.at < one.at else one
    if fuller.at == first.at and fuller.session == first.session:
        return fuller
    return fuller._replace(at=first.at, session=first.session)


class Mark(NamedTuple):
    """A transcript as it was when it was read, and how far."""

    path: str  # as the system calls it; undecodable bytes as surrogates
    agent: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    offset: int = 0  # bytes up to the end of the last full line
    check: int = 0  # checksum of the bytes right before that
    state: Mapping[str, Any] = NO_PIECES  # of its reader
    problems: Mapping[str, int] = NO_PIECES  # lines that were not counted, by reason
    id: int = 0  # the index's


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Messages that have everything here in common, as one row."""

    agent: str
    model: str
    provider: str
    modifiers: Modifiers
    repo: str
    session: str  # empty where sessions were not asked for
    bucket_ms: int  # begin of the quarter of an hour; 0 where time was not asked for
    is_sub: bool
    messages: int
    unpriced: int  # of these, that have no price
    cost: Money  # of the others
    usage: Usage
    first_ms: int
    last_ms: int
