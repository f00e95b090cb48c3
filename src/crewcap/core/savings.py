"""What prompt caches did for a run: what was written twice, where its prefix broke, which lifetime would be cheaper.

An agent's conversation is read from a cache as long as every request begins as the one before it ended. `kept` is how
many tokens of it the last request left in the cache. A request that comes in time and reads less has lost the rest,
and writes it again; most often because something near its beginning changed (a date in the system prompt, a tool that
came or went).

Which lifetime is cheaper follows from the real pauses between a conversation's requests: what is read after a pause
of six minutes was written for an hour, or is written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, Rates, Usage
from crewcap.core.report import Spending

LEAST_LOST = 1_024  # tokens; less is a cache's own coarseness
FORGOTTEN = "nothing in the request changed"
LEAST_TOLD = Money.usd("0.01")  # advice that saves less is not worth reading
ADVISED = frozenset({"anthropic"})  # price lists whose two lifetimes these are

Lifetime = Literal["5m", "1h"]
LIFETIMES_S: Mapping[Lifetime, int] = {"5m": 300, "1h": 3_600}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTurn:
    """What one settled request tells of its conversation's cache."""

    hold: HoldId
    run: str  # '' for a plain key
    key: KeyId
    conversation: str
    gap_ms: int | None  # since the conversation's last answer; None = its first request
    kept: int  # tokens that the conversation's last request had left in the cache
    lost: int = 0  # tokens of these that were not read, although they should have been there
    cost: Money = ZERO  # what it cost to send them again instead of reading them
    broke: str = ""  # the first difference from the last request: "system, character 1,204"; '' = not looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """The caches of one run, over all its conversations."""

    conversations: int = 0
    breaks: int = 0
    lost: int = 0  # tokens that were written again
    cost: Money = ZERO  # of these, beyond reading them
    dearest: CacheTurn | None = None  # of those that broke
    cost_5m: Money = ZERO  # the prompts of all, had every write lived for 5 minutes
    cost_1h: Money = ZERO  # the same for an hour
    written_for: Lifetime = "5m"  # what most was written for

    @property
    def cheaper(self) -> tuple[Lifetime, Money] | None:
        """The lifetime that would have been cheaper than the one in use, and by how much."""
        other: Lifetime = "5m" if self.written_for == "1h" else "1h"
        less = -self.difference(other).nano
        return (other, Money(less)) if less > 0 else None

    def difference(self, lifetime: Lifetime) -> Money:
        """What this lifetime would have cost more than the one in use; below zero where it would have been cheaper."""
        costs = {"5m": self.cost_5m, "1h": self.cost_1h}
        return costs[lifetime] - costs[self.written_for]


class Closed(Spending, Protocol):
    """A closed request of the ledger."""

    @property
    def hold(self) -> HoldId: ...  # noqa: D102  (a field)


def again(usage: Usage, rates: Rates, lost: int) -> Money:
    """What it cost beyond reading to send so many tokens again, by how they were billed."""
    written = min(lost, usage.write_5m + usage.write_1h)
    plain = min(lost - written, usage.input)
    write = rates.write_1h if usage.write_1h else rates.write_5m
    pico = written * (write - rates.cache_read) + plain * (rates.input - rates.cache_read)
    return Money.from_pico(max(0, pico))


def report(
    turns: Iterable[CacheTurn], entries: Iterable[Closed], *, card_of: Callable[[Closed], RateCard | None]
) -> CacheReport:
    """Everything that is known of a run's caches; requests whose price is gone are left out of the advice."""
    found, known = tuple(turns), {entry.hold: entry for entry in entries}
    broke = [turn for turn in found if turn.lost]
    told = [(turn, entry) for turn in found if (entry := known.get(turn.hold)) is not None]
    hours = sum(entry.usage.write_1h for _, entry in told)
    return CacheReport(
        conversations=len({turn.conversation for turn in found}),
        breaks=len(broke),
        lost=sum(turn.lost for turn in broke),
        cost=Money(sum(turn.cost.nano for turn in broke)),
        dearest=max(broke, key=lambda turn: turn.cost, default=None),
        cost_5m=_prompts(told, "5m", card_of),
        cost_1h=_prompts(told, "1h", card_of),
        written_for="1h" if hours > sum(entry.usage.write_5m for _, entry in told) else "5m",
    )


def lines(caches: CacheReport) -> tuple[str, ...]:
    """What is worth saying of it, in a sentence each."""
    said = []
    if caches.breaks and caches.dearest is not None:
        times = "once" if caches.breaks == 1 else f"{caches.breaks} times"
        where = f" (at {caches.dearest.broke})" if caches.dearest.broke not in {"", FORGOTTEN} else ""
        where = f" ({FORGOTTEN})" if caches.dearest.broke == FORGOTTEN else where
        said.append(
            f"the cached prefix broke {times}{where}: {caches.lost:,} tokens were sent again, "
            f"for {caches.cost.show()} more than reading them"
        )
    if caches.cheaper is not None and caches.cheaper[1] >= LEAST_TOLD:
        lifetime, less = caches.cheaper
        words = {"5m": "5 minutes", "1h": "1 hour"}
        used = words[caches.written_for]
        said.append(
            f"by its pauses, caches of {words[lifetime]} would have cost {less.show()} less than those of {used}"
        )
    return tuple(said)


def _prompts(
    told: Iterable[tuple[CacheTurn, Closed]], lifetime: Lifetime, card_of: Callable[[Closed], RateCard | None]
) -> Money:
    """What all prompts would have cost, had every write lived for so long."""
    pico = 0
    for turn, entry in told:
        card, usage = card_of(entry), entry.usage
        if card is None or card.provider not in ADVISED:
            continue
        rates = card.rates_for(usage.prompt)
        cached = usage.cache_read + usage.write_5m + usage.write_1h
        is_there = turn.gap_ms is not None and turn.gap_ms <= LIFETIMES_S[lifetime] * 1_000
        # a first request may read what another conversation wrote: that is as it is, whatever the lifetime
        read = usage.cache_read if turn.gap_ms is None else min(cached, turn.kept - turn.lost) if is_there else 0
        write = rates.write_1h if lifetime == "1h" else rates.write_5m
        pico += read * rates.cache_read + (cached - read) * write + usage.input * rates.input
    return Money.from_pico(pico)
