"""Limits beside money: rates, which come back by themselves, and counts, which a window of the calendar holds.

    tpm          a bucket of one minute's tokens that fills evenly. A request is sent while it is above zero; what the
                 answer used (fresh input, cache writes, output; not cache reads) is taken out when it settles, so the
                 bucket may fall below zero: a debt, paid by waiting
    rpm          a bucket of one minute's requests; a whole one is taken out when a request is sent
    concurrent   requests in flight
    runs         runs that began in a window: those that a key was made for
    tokens       all tokens that settled in a window, and the most that those in flight or uncertain can be
    hours        the lives of the window's runs' keys, as far as they lie in it

A rate that has no room says `Busy`: whoever asks waits and asks again. A count that is used up says `Denied`: it opens
with its next window. Neither is money, and neither is ever a reason to hold less of it.

A bucket is kept in parts so small (`PARTS` to a token) that filling it is exact in whole numbers: `value` of them
every microsecond make `value` tokens a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from crewcap.core.budget import Busy, CountKind, RateKind, Scope, Window

Source = Literal["default", "file", "command", "run", "key"]

RATE_KINDS: tuple[RateKind, ...] = ("tpm", "rpm", "concurrent")
COUNT_KINDS: tuple[CountKind, ...] = ("runs", "tokens", "hours")
PARTS = 60_000_000  # microseconds of a minute
HOUR_S = 3_600
LARGEST_RATE = 10**10  # above these a limit is a slip of the keyboard, and would not fit whole numbers of 64 bits
LARGEST_COUNT = 10**15
RECHECK_S = 1.0  # when to look again for what no clock opens: nobody knows when a request in flight ends


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many a minute, or at once, for a scope; with where it was said."""

    scope: Scope
    kind: RateKind
    value: int
    source: Source
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLimit:
    """So many in a window, for a scope; with where it was said."""

    scope: Scope
    kind: CountKind
    window: Window
    value: int  # runs, tokens, hours
    source: Source
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBalance:
    """A rate in force, and how much of it is free at this moment."""

    scope: Scope
    kind: RateKind
    limit: int
    left: int  # whole tokens or requests; below zero where a bucket is in debt
    source: str
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBalance:
    """A count in force in one window of the calendar, and what was used of it."""

    scope: Scope
    kind: CountKind
    window: Window
    label: str
    limit: int  # runs, tokens, hours
    used: int  # runs, tokens; of `hours`: seconds
    resets_at: datetime | None = None
    source: str = ""
    version: int = 0

    @property
    def most(self) -> int:
        """The limit in the unit of `used`."""
        return self.limit * HOUR_S if self.kind == "hours" else self.limit

    @property
    def left(self) -> int:
        """What may still be used, in the unit of `used`; never below zero."""
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate's bucket at an instant: parts, of which `PARTS` are one token or one request."""

    level: int
    at: int  # microseconds since 1970, by the wall clock as it is trusted

    @classmethod
    def full(cls, value: int, at: int) -> Bucket:
        """One minute's worth."""
        return cls(value * PARTS, at)

    def filled(self, value: int, at: int) -> Bucket:
        """The same, later. A clock that was set back fills nothing and loses nothing: it goes on from there."""
        return Bucket(min(value * PARTS, self.level + value * max(0, at - self.at)), at)

    def wait_s(self, kind: RateKind, value: int) -> float:
        """Seconds until a request may be sent, 0.0 = now: above zero for tokens, a whole one for requests."""
        missing = max(0, (1 if kind == "tpm" else PARTS) - self.level)
        return -(-missing // value) / 1_000_000  # whole microseconds, rounded up

    @property
    def left(self) -> int:
        """Whole tokens or requests."""
        return self.level // PARTS


def bounds(kind: RateKind | CountKind) -> tuple[int, int]:
    """The smallest and the largest limit of a kind: no rate at all is no rate; no runs at all are a pause."""
    return (1, LARGEST_RATE) if kind in RATE_KINDS else (0, LARGEST_COUNT)


def busy_message(busy: Busy) -> str:
    """Which limit has no room at this moment, and why it will have."""
    match busy.kind:
        case "tpm":
            return f"{busy.scope} has no token left of its {busy.limit:,} a minute"
        case "rpm":
            return f"{busy.scope} has no request left of its {busy.limit:,} a minute"
        case "concurrent":
            return f"{busy.scope} has {busy.limit:,} requests in flight, and may have no more at once"
        case _:
            return f"{busy.scope} has the rest of its {busy.limit:,} {busy.kind} held by requests in flight"


def used_up(balance: CountBalance, needed: int = 0) -> str:
    """Which count has no room, how much was used, and when it opens: one sentence, and after its last `; ` the help."""
    used, window = balance.used, "" if balance.window == "total" else f" this {balance.window} ({balance.label})"
    shown = f"{used / HOUR_S:,.1f}" if balance.kind == "hours" else f"{used:,}"
    more = f", and this request may need {needed:,}" if needed else ""
    opens = "" if balance.resets_at is None else f"it opens at {balance.resets_at:%Y-%m-%d %H:%M} UTC; "
    return (
        f"{balance.scope} has used {shown} of its {balance.limit:,} {balance.kind}{window}{more}; "
        f"{opens}raise it with: crewcap budget set {balance.scope} {balance.kind}/{balance.window} NUMBER"
    )
