"""The ledger on SQLite keeps the ledger's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.clocks import Clocks
from tests.contracts.ledger import LedgerContract
from tests.contracts.ledger_machine import order
from tests.stores.books import Shelf, reserve, settle, usd
from tests.stores.crash import abandon

from crewcap.core.budget import Denied, Granted, Refused
from crewcap.errors import InternalError
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger


class TestSqliteLedger(LedgerContract):
    """The suite over a file in a folder of its own."""

    @pytest.fixture
    def opened(self, tmp_path: Path, clocks: Clocks) -> Iterator[Callable[[], SqliteLedger]]:
        ledgers: list[SqliteLedger] = []

        def open_() -> SqliteLedger:
            home = Home(tmp_path / "home")
            ledgers.append(SqliteLedger(home, clock=clocks.clock, monotonic=clocks.monotonic, zone="UTC"))
            return ledgers[-1]

        yield open_
        for ledger in ledgers:
            abandon(ledger)


def test_orders_that_queue_are_decided_one_after_the_other_in_one_flush(shelf: Shelf) -> None:
    """Group commit changes nothing but the number of flushes: the first that do not fit are refused, smaller fit."""
    ledger, boot = shelf.filled()
    amounts = ("0.50", "0.50", "0.40", "0.01")
    orders = [order(f"o{n}", boot=boot, key="k1", amount=usd(amount)) for n, amount in enumerate(amounts)]
    assert [type(it) for it in ledger.reserve_many(orders)] == [Granted, Refused, Granted, Refused]
    assert [it.hold for it in ledger.open_holds()] == ["o0", "o2"]
    assert ledger.reserve_many(()) == ()
    shelf.clocks.jump(timedelta(hours=1))
    denied = ledger.reserve_many(orders)
    assert [it.code for it in denied if isinstance(it, Denied)] == ["clock"] * 4
    ledger.close()


def test_one_order_that_is_a_defect_undoes_its_whole_group(shelf: Shelf) -> None:
    ledger, boot = shelf.filled()
    good, wrong = (order(name, boot=boot, key="k1", amount=usd("0.10")) for name in ("good", "first"))
    with pytest.raises(InternalError):
        ledger.reserve_many((good, wrong))
    assert ledger.open_holds() == ()
    ledger.close()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from([0, 0, 0, -2880, -60, 60, 1440, 44640])), max_size=15))
def test_no_jump_of_the_clock_opens_a_window_before_its_time(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, int]]
) -> None:
    """Minutes pass, the wall clock jumps by minutes: what is granted is always booked at true time."""
    shelf = Shelf(tmp_path_factory.mktemp("jumps"))
    ledger, boot = shelf.filled(cap="1000")
    true, jumped = shelf.clocks.wall, False
    for number, (passed, jump) in enumerate(moves):
        shelf.clocks.pass_time(timedelta(minutes=passed))
        shelf.clocks.jump(timedelta(minutes=jump))
        true += timedelta(minutes=passed)
        jumped = jumped or jump != 0
        assert isinstance(reserve(ledger, boot, f"h{number}", "0.10"), Denied if jumped else Granted)
        if not jumped:
            assert ledger.open_holds()[-1].sent_at == true
            assert settle(ledger, f"h{number}", "0.10")
        if jumped and number % 3 == 2:
            shelf.clocks.wall, jumped = true, False  # somebody sets it right, and says so
            ledger.accept_clock()
    assert ledger.verify().problems == ()
    ledger.close()
