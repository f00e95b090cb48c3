"""What the ledger says of one run, gathered for its report and its last block on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crewcap.core import savings
from crewcap.core.budget import Scope
from crewcap.core.cards import settled_at
from crewcap.core.money import Money
from crewcap.core.pricing import PriceBook, RateCard, UnknownPrice
from crewcap.core.report import Parts, Spending, parts, what_if
from crewcap.core.runs import Run
from crewcap.core.savings import CacheReport
from crewcap.stores import CacheTurns, Entry, Ledger, Totals

_OTHERS = ("opus", "sonnet", "haiku")  # models that people compare with


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A run's money, and what can be said about it."""

    totals: Totals
    issue_cost: Money  # of all runs of the issue, this one included
    issue_cap: Money
    parts: Parts
    dearest: Entry | None = None
    elsewhere: tuple[tuple[str, Money], ...] = ()  # the same tokens on other models
    caches: CacheReport = field(default_factory=CacheReport)  # what was seen of its prompt caches
    book: str = ""  # short hash of the price table

    @property
    def cost(self) -> Money:
        """What is shown as cost (MONEY 1)."""
        return self.totals.spent + self.totals.uncertain


def account(
    ledger: Ledger,
    book: PriceBook,
    run: Run,
    *,
    issue_cap: Money,
    now: datetime,
    cache_turns: CacheTurns | None = None,
    prices_of: Callable[[str], str] = str,
) -> Account:
    """Read everything about a run's money; a price that is gone leaves a gap, never an error.

    `prices_of` tells which price list a provider bills by.
    """
    entries = ledger.entries(scope=Scope(f"run:{run.id}"))
    card_of = _cards(book, entries, prices_of)
    issue = ledger.totals(Scope(f"issue:{run.issue.scope_name}"))
    return Account(
        totals=ledger.totals(Scope(f"run:{run.id}")),
        issue_cost=issue.spent + issue.uncertain,
        issue_cap=issue_cap,
        parts=parts(entries, card_of=card_of),
        dearest=max(entries, key=lambda entry: entry.spent, default=None),
        elsewhere=_elsewhere(book, {prices_of(entry.provider) for entry in entries}, entries, run, now),
        caches=savings.report(cache_turns.of_run(run.id), entries, card_of=card_of) if cache_turns else CacheReport(),
        book=book.hash,
    )


def _cards(
    book: PriceBook, entries: Sequence[Entry], prices_of: Callable[[str], str]
) -> Callable[[Spending], RateCard | None]:
    """The cards that requests were settled at, with speed, region and tier; standard ones where these are gone."""
    by_name: dict[tuple[str, str, str], RateCard | None] = {}
    for entry in entries:
        name = (entry.provider, entry.model, entry.card)
        if name not in by_name:
            moments = (entry.booked_at, entry.closed_at)
            by_name[name], _ = settled_at(book, prices_of(entry.provider), entry.model, entry.card, moments)
    by_entry = {id(entry): by_name[entry.provider, entry.model, entry.card] for entry in entries}
    return lambda entry: by_entry.get(id(entry))


def _elsewhere(
    book: PriceBook, lists: Iterable[str], entries: Sequence[Entry], run: Run, now: datetime
) -> tuple[tuple[str, Money], ...]:
    """What the same tokens would have cost on the other models of the same price lists."""
    found: dict[str, Money] = {}
    for provider in lists:
        for name in _OTHERS:
            try:
                model = book.resolve(provider, name, at=now)
                card = book.card(provider, model, at=now)
            except UnknownPrice:
                continue
            if model != run.model:
                found[model] = what_if(entries, card)
    return tuple(found.items())
