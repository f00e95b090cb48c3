"""A settings file's words are written when they are new, and only then."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from tests.stores.books import Shelf

from crewcap.core.budget import ALL
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.errors import LedgerError
from crewcap.stores import Limit

DAY = Limit(scope=ALL, window="day", amount=Money.usd("5.00"), source="file")
RATES = (RateLimit(scope=ALL, kind="rpm", value=9, source="file"),)
COUNTS = (CountLimit(scope=ALL, kind="runs", window="day", value=4, source="file"),)


def test_while_another_program_writes_a_command_that_brings_nothing_new_goes_on(shelf: Shelf) -> None:
    """Every command brings its settings' limits; one that only reads needs no turn as a writer for that."""
    shelf.open().close()
    ledger = shelf.open(busy_s=0.05)
    ledger.sync_file_limits([DAY], zone="UTC", rates=RATES, counts=COUNTS)
    shell = sqlite3.connect(shelf.home.ledger, isolation_level=None)
    shell.execute("BEGIN EXCLUSIVE")
    ledger.sync_file_limits([DAY], zone="UTC", rates=RATES, counts=COUNTS)
    ledger.sync_file_limits([], zone="UTC", has_file=False)  # who has no file takes nothing back
    assert [balance.limit for balance in ledger.all_balances()] == [DAY.amount]
    for limits, zone, rates in (
        ([replace(DAY, amount=Money.usd("6.00"))], "UTC", RATES),
        ([], "UTC", RATES),
        ([DAY], "Europe/Berlin", RATES),
        ([DAY], "UTC", ()),
    ):
        with pytest.raises(LedgerError, match="is locked by another program"):
            ledger.sync_file_limits(limits, zone=zone, rates=rates, counts=COUNTS)
    shell.execute("ROLLBACK")
    shell.close()
    ledger.sync_file_limits([replace(DAY, amount=Money.usd("6.00"))], zone="UTC")
    assert [balance.limit for balance in ledger.all_balances()] == [Money.usd("6.00")]
    assert (list(ledger.rates()), list(ledger.counts())) == ([], [])
    ledger.close()
