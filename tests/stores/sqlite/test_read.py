"""Reading never writes, and what was reconciled later is part of what is read; the rest stands in the contract."""

from __future__ import annotations

from datetime import timedelta

from tests.stores.books import Shelf, reserve, usd

from crewcap.core.budget import Granted, HoldId, Scope
from crewcap.core.money import ZERO
from crewcap.core.pricing import Usage
from crewcap.stores import Settlement


def test_a_word_about_an_uncertain_hold_is_part_of_its_entry(shelf: Shelf) -> None:
    """Its spent and uncertain money, its time and its reason are those of both together."""
    ledger, boot = shelf.filled()
    assert isinstance(reserve(ledger, boot, "lost", "0.40"), Granted)
    lost = Settlement(
        hold=HoldId("lost"), kind="uncertain", spent=ZERO, uncertain=usd("0.40"), usage=Usage(), reason="no answer"
    )
    assert ledger.settle(lost)
    shelf.clocks.pass_time(timedelta(hours=1))
    ledger.reconcile(HoldId("lost"), cost=usd("0.15"), word="the invoice")
    first, second = ledger.entries(scope=Scope("repo:a"))
    assert (first.kind, first.spent, first.uncertain) == ("settled", usd("0.10"), ZERO)
    assert (second.kind, second.spent, second.uncertain) == ("reconciled", usd("0.15"), ZERO)
    assert second.reason == "no answer; the invoice"
    assert second.closed_at == shelf.clocks.wall
    assert second.booked_at < second.closed_at
    assert ledger.uncertain_holds() == ()
    ledger.close()


def test_reading_leaves_the_file_as_it_is(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    before = shelf.sql("SELECT total_changes(), (SELECT count(*) FROM budget), (SELECT count(*) FROM hold)")
    ledger.totals(Scope("repo:a"))
    ledger.entries()
    ledger.open_holds()
    ledger.all_balances()
    assert shelf.sql("SELECT total_changes(), (SELECT count(*) FROM budget), (SELECT count(*) FROM hold)") == before
    ledger.close()


def test_a_scope_that_nobody_knows_has_spent_nothing(shelf: Shelf) -> None:
    ledger, _ = shelf.filled()
    found = ledger.totals(Scope("repo:nobody"))
    assert (found.spent, found.requests, found.usage) == (ZERO, 0, Usage())
    assert ledger.entries(scope=Scope("repo:nobody")) == ()
    ledger.close()
