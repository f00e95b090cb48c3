"""Who is next when a request's money is only held by others.

The rule (MONEY section 5). Waiters hold nothing. Within one run the first that came is the first served. Between
runs the oldest goes first, but a younger one that fits now may pass an older one, at most `MOST_PASSES` times;
from then on the older one holds back everybody who draws on the limit that it waits for. A waiter holds nobody
back who draws on other limits: a run short of its own cap does not slow its neighbours.

No dead-lock: what is waited for is held by requests in flight, and these end without asking the line anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from crewcap.core.budget import Scope

MOST_PASSES = 8


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter:
    """One request's place in the line; its ticket is drawn when it comes in, before its first try."""

    ticket: int
    run: str  # the run, or the key where there is none
    scopes: frozenset[Scope]  # every scope that it draws on
    short_of: Scope | None = None  # the limit that it waits for, once it has been refused
    passes: int = 0  # how often a younger one was served before it


@dataclass(slots=True)
class Line:
    """Everybody who waits, oldest first."""

    _waiters: list[Waiter] = field(default_factory=list)
    _tickets: count[int] = field(default_factory=count)

    def ticket(self, run: str, scopes: frozenset[Scope]) -> Waiter:
        """A place in the line for a request that just came in; it waits only once it has joined."""
        return Waiter(ticket=next(self._tickets), run=run, scopes=scopes)

    def join(self, waiter: Waiter, *, short_of: Scope | None) -> None:
        """Wait for a limit, or only behind others; joining again only names another limit."""
        waiter.short_of = short_of
        if waiter not in self._waiters:
            self._waiters.append(waiter)
            self._waiters.sort(key=lambda each: each.ticket)

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def may_try(self, waiter: Waiter) -> bool:
        """Whether nobody is before it: no older one of its run, no older one that was passed too often."""
        return not any(self._holds_back(older, waiter) for older in self._older(waiter))

    def granted(self, waiter: Waiter) -> None:
        """It got its money: it leaves, and everyone whose limit it drew on has been passed once more."""
        self.leave(waiter)
        for older in self._older(waiter):
            if older.short_of in waiter.scopes:
                older.passes += 1

    def ready(self) -> tuple[Waiter, ...]:
        """Everyone who may try now, oldest first."""
        return tuple(waiter for waiter in self._waiters if self.may_try(waiter))

    def waiting(self) -> tuple[Waiter, ...]:
        """Everyone, oldest first."""
        return tuple(self._waiters)

    def __len__(self) -> int:
        return len(self._waiters)

    def _older(self, waiter: Waiter) -> list[Waiter]:
        return [each for each in self._waiters if each.ticket < waiter.ticket]

    @staticmethod
    def _holds_back(older: Waiter, waiter: Waiter) -> bool:
        return older.run == waiter.run or (older.passes >= MOST_PASSES and older.short_of in waiter.scopes)
