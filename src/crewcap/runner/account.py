"""What the ledger says of one run, gathered for its report and its last block on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crewcap.core import savings
from crewcap.core.budget import Scope
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
) -> Account:
    """Read everything about a run's money; a price that is gone leaves a gap, never an error."""
    entries = ledger.entries(scope=Scope(f"run:{run.id}"))
    issue = ledger.totals(Scope(f"issue:{run.issue.scope_name}"))
    return Account(
        totals=ledger.totals(Scope(f"run:{run.id}")),
        issue_cost=issue.spent + issue.uncertain,
        issue_cap=issue_cap,
        parts=parts(entries, card_of=lambda entry: _card(book, entry)),
        dearest=max(entries, key=lambda entry: entry.spent, default=None),
        elsewhere=_elsewhere(book, entries, run, now),
        caches=caches_of(run, entries, book, cache_turns),
        book=book.hash,
    )


def caches_of(run: Run, entries: Sequence[Entry], book: PriceBook, turns: CacheTurns | None) -> CacheReport:
    """What its prompt caches did, where that was written down."""
    if turns is None:
        return CacheReport()
    return savings.report(turns.of_run(run.id), entries, card_of=lambda entry: _card(book, entry))


def _card(book: PriceBook, entry: Spending) -> RateCard | None:
    try:
        return book.card(entry.provider, entry.model, at=entry.booked_at)
    except UnknownPrice:
        return None


def _elsewhere(book: PriceBook, entries: Sequence[Entry], run: Run, now: datetime) -> tuple[tuple[str, Money], ...]:
    """What the same tokens would have cost on the other models of the same provider."""
    found: dict[str, Money] = {}
    for provider in {entry.provider for entry in entries}:
        for name in _OTHERS:
            try:
                model = book.resolve(provider, name, at=now)
                card = book.card(provider, model, at=now)
            except UnknownPrice:
                continue
            if model != run.model:
                found[model] = what_if(entries, card)
    return tuple(found.items())
