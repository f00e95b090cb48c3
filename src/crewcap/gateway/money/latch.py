"""A key that can never pay for another useful request is told so at once, without a count call or a wait.

A latch is set only when a refusal is final: nothing is held in the limit that binds, and what is left of it is
below the cheapest useful request ever seen on the key. It remembers that limit's scope, window, version and what
was left, and falls as soon as one of them changes (another day, another amount, money given back). Only limits
of the key's or the run's own latch: a shortage in a scope that is shared may pass with its other users.

A refusal must be true, and it names what the request needs. So a latch answers only requests that are as large, by
their bytes, as one that was refused in full, or up to a tenth larger (an agent that asks again has a little more to
say), with what that one needs in the same proportion; any other gets its own count call and its own answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from crewcap.core.budget import Balance, KeyId, Refused, admit
from crewcap.core.money import ZERO, Money

OWN_SCOPES = ("key:", "run:")
SIZES_KEPT = 64  # of the requests that one latch answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """A limit as it stood at a final refusal, and what each size of request (by its bytes) was found to need."""

    limit: Balance
    needs: OrderedDict[Money, Money]


@dataclass(slots=True)
class Latches:
    """The latches of one gateway, with the cheapest useful request seen on each key."""

    _cheapest: dict[KeyId, Money] = field(default_factory=dict)
    _latched: dict[KeyId, Latch] = field(default_factory=dict)

    def saw(self, key: KeyId, least: Money) -> None:
        """A request came whose smallest useful form costs at most `least`."""
        self._cheapest[key] = min(least, self._cheapest.get(key, least))

    def refused(self, key: KeyId, refusal: Refused, *, by_bytes: Money) -> bool:
        """Latch the key if this refusal is final; whether it did."""
        limit = refusal.binding
        if not limit.scope.startswith(OWN_SCOPES) or limit.held != ZERO:
            return False
        if limit.left >= self._cheapest.get(key, ZERO):
            return False
        latch = self._latched.get(key)
        needs = latch.needs if latch is not None and _is_unchanged(latch.limit, limit) else OrderedDict()
        needs[by_bytes] = refusal.needed
        if len(needs) > SIZES_KEPT:
            needs.popitem(last=False)
        self._latched[key] = Latch(limit=limit, needs=needs)
        return True

    def may_hold(self, key: KeyId, *, by_bytes: Money) -> bool:
        """Whether there is a latch for a request of this size, to be checked against the balances."""
        latch = self._latched.get(key)
        return latch is not None and _needed(latch, by_bytes) is not None

    def holds(self, key: KeyId, balances: Sequence[Balance], *, by_bytes: Money) -> Refused | None:
        """The refusal of a request of this size, if the latch still stands; else the latch falls."""
        latch = self._latched.get(key)
        if latch is None:
            return None
        if not any(_is_unchanged(latch.limit, balance) for balance in balances):
            del self._latched[key]
            return None
        needed = _needed(latch, by_bytes)
        return admit(needed, balances) if needed is not None else None


def _needed(latch: Latch, by_bytes: Money) -> Money | None:
    """What a request of this size needs, by the largest that was refused and is about as large."""
    alike = [size for size in latch.needs if size.nano <= by_bytes.nano <= size.nano * 11 // 10]
    if not alike:
        return None
    size = max(alike)
    return Money(-(-latch.needs[size].nano * by_bytes.nano // size.nano)) if size.nano else latch.needs[size]


def _is_unchanged(then: Balance, now: Balance) -> bool:
    """The same limit in the same window and version, with no more left than then."""
    named = (then.scope, then.window, then.label, then.version, then.limit)
    return named == (now.scope, now.window, now.label, now.version, now.limit) and now.left <= then.left
