"""What the ledger says of one run, on real books and real prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap import prices
from crewcap.core.budget import ALL, Granted, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.core.savings import CacheTurn
from crewcap.home import Home
from crewcap.runner.account import account
from crewcap.stores import Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.savings import SqliteCacheTurns

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "claude-sonnet-5"
RUN = Run(
    id=RunId("r2"), name="fix.2", issue=Issue(tracker="files", key="fix", title="Fix", body="..."),
    state=RunState.DONE, repo="shop", repo_path="/srv/shop", model=MODEL, cap=Money.usd(3), created_at=NOW,
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    """Two runs of one issue: the first cost $0.10, the second two requests."""
    clocks = Clocks(NOW)
    ledger = SqliteLedger(Home(tmp_path), clock=clocks.clock, monotonic=clocks.monotonic)
    boot = ledger.start_boot()
    usages = {
        "r1": [Usage(input=50_000)],
        "r2": [Usage(input=100, write_5m=9_000, output=400), Usage(cache_read=9_000, input=50, output=90)],
    }
    book = prices.load()
    for run, asked in usages.items():
        scopes = (Scope(f"key:{run}"), Scope(f"run:{run}"), Scope("issue:files/fix"), ALL)
        ledger.add_key(VirtualKey(id=KeyId(run), hash=run, scopes=scopes, created_at=NOW, run=run), cap=None)
        for number, usage in enumerate(asked):
            hold = HoldId(f"{run}-{number}")
            granted = ledger.reserve(order(hold, boot=boot, key=run, amount=Money.usd(1)))
            assert isinstance(granted, Granted)
            cost = book.card("anthropic", MODEL, at=NOW).cost(usage)
            ledger.settle(Settlement(hold=hold, kind="settled", spent=cost, uncertain=ZERO, usage=usage, model=MODEL))
    return ledger


def test_a_run_is_told_apart_from_its_issue(ledger: SqliteLedger) -> None:
    found = account(ledger, prices.load(), RUN, issue_cap=Money.usd(10), now=NOW)
    assert found.totals.requests == 2
    assert found.cost == found.totals.spent
    assert found.issue_cost == found.cost + Money.usd("0.10")


def test_its_money_is_shared_out_and_its_dearest_request_named(ledger: SqliteLedger) -> None:
    found = account(ledger, prices.load(), RUN, issue_cap=Money.usd(10), now=NOW)
    parts = found.parts
    assert (parts.input + parts.cache_read + parts.cache_write + parts.output + parts.other) == found.totals.spent
    assert parts.cache_write > parts.cache_read > ZERO
    assert found.dearest is not None
    assert found.dearest.usage.write_5m == 9_000


def test_the_same_tokens_are_priced_on_the_models_that_people_compare_with(ledger: SqliteLedger) -> None:
    found = account(ledger, prices.load(), RUN, issue_cap=Money.usd(10), now=NOW)
    models = [model for model, _ in found.elsewhere]
    assert MODEL not in models
    assert any("opus" in model for model in models)
    assert any("haiku" in model for model in models)
    assert all(amount > ZERO for _, amount in found.elsewhere)


def test_a_run_without_a_request_has_an_account_too(ledger: SqliteLedger) -> None:
    nothing = Run(**{**{name: getattr(RUN, name) for name in RUN.__slots__}, "id": RunId("r9")})
    found = account(ledger, prices.load(), nothing, issue_cap=Money.usd(10), now=NOW)
    assert (found.cost, found.dearest, found.elsewhere) == (ZERO, None, ())


def test_what_was_seen_of_its_caches_is_part_of_its_account(ledger: SqliteLedger, tmp_path: Path) -> None:
    """By the rows of this run alone; without them there is nothing to say."""
    store = SqliteCacheTurns(Home(tmp_path))
    first = CacheTurn(hold=HoldId("r2-0"), run="r2", key=KeyId("r2"), conversation="c", gap_ms=None, kept=0)
    broke = replace(first, hold=HoldId("r2-1"), gap_ms=900, kept=9_000, lost=9_000, cost=Money.usd("0.03"))
    store.note([first, broke, replace(broke, hold=HoldId("r1-0"), run="r1")])
    found = account(ledger, prices.load(), RUN, issue_cap=Money.usd(10), now=NOW, cache_turns=store)
    store.close()
    assert (found.caches.breaks, found.caches.cost) == (1, Money.usd("0.03"))
    assert account(ledger, prices.load(), RUN, issue_cap=Money.usd(10), now=NOW).caches.breaks == 0


def test_its_money_is_told_by_the_card_that_was_settled_at(ledger: SqliteLedger) -> None:
    """Fast mode at a provider that is called otherwise than its price list."""
    book, model, usage = prices.load(), "claude-opus-4-8", Usage(input=50, cache_read=9_000, output=90)
    card = book.card("anthropic", model, at=NOW, modifiers=Modifiers(speed="fast"))
    scopes = (Scope("key:r3"), Scope("run:r3"), Scope("issue:files/fix"), ALL)
    ledger.add_key(VirtualKey(id=KeyId("r3"), hash="r3", scopes=scopes, created_at=NOW, run="r3"), cap=None)
    asked = replace(order(HoldId("fast"), boot=ledger.start_boot(), key="r3", amount=Money.usd(1)), provider="ours")
    assert isinstance(ledger.reserve(asked), Granted)
    ledger.settle(
        Settlement(
            hold=HoldId("fast"),
            kind="settled",
            spent=card.cost(usage),
            uncertain=ZERO,
            usage=usage,
            model=model,
            card=card.id,
        )
    )
    lists = {"ours": "anthropic"}
    run = replace(RUN, id=RunId("r3"))
    found = account(ledger, book, run, issue_cap=Money.usd(10), now=NOW, prices_of=lambda name: lists[name])
    assert found.parts.without_caching == card.cost(Usage(input=9_050, output=90))
    assert any("haiku" in name for name, _ in found.elsewhere)
