"""What to do with a request that may not fit: take, wait, take less, or refuse (MONEY section 5), on values.

In this order: money held by others would make the whole of it fit, so wait; else lower the output limit to what
is left; else, if the smallest useful form would fit with nothing held, wait for that; else refuse. The promise
that follows: no final refusal while the missing money is only held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from crewcap.core.budget import Balance, Busy, Refused, admit, room
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.quick import quickly_made
from crewcap.stores import HoldOrder


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One request that wants money, as functions of its output limit."""

    key: VirtualKey
    full: int  # tokens of output, as many as the request may have
    most: Money  # the most that it can cost with that output limit
    floor: int  # tokens of output below which it is of no use
    least: Money  # the most that its smallest useful form can cost
    clamp: Callable[[Money], int | None]  # the largest output limit whose hold fits, if it is of use
    order: Callable[[int], HoldOrder]  # what the ledger is asked for with this output limit
    keep: Money = ZERO  # must stay free of the run's own cap besides
    refine: Callable[[], Awaitable[Want]] | None = None  # the same with a closer bound, if one can be had
    deeper: Callable[[], Want] | None = None  # the same, leaving less free; for when nothing else is left


@dataclass(frozen=True, slots=True)
class Take:
    """Ask the ledger for a hold with this output limit."""

    output: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The missing money is only held."""

    refusal: Refused


@dataclass(frozen=True, slots=True)
class Rest:
    """The money is there, and a rate has no room: it comes back by itself, and then the same is asked again."""

    busy: Busy
    again: Take


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Not even the smallest useful form would fit if everything held came back."""

    refusal: Refused


def choose(want: Want, balances: Sequence[Balance]) -> Take | Wait | GiveUp:
    """The next step for a request, by the balances as they are."""
    refused = admit(want.most, balances, keep=want.keep)
    if refused is None:
        return Take(want.full)
    if refused.can_wait:
        return Wait(refused)
    left = room(balances, keep=want.keep)
    output = want.clamp(left) if left is not None else want.full
    if output is not None:
        return Take(output)
    refused = admit(want.least, balances, keep=want.keep)
    if refused is None:
        return Take(want.floor)
    return Wait(refused) if refused.can_wait else GiveUp(refused)
