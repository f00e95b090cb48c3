"""Several gateways on one database, each with a home of its own, and gateways and servers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contracts.ledger_machine import order
from tests.stores.books import reserve, settle
from tests.stores.postgres_server import Server, serving, start
from tests.stores.postgres_shelf import Shelf, abandon, add_key, usd

from crewcap.core.budget import ALL, Decision, Granted, KeyId, Refused, Scope
from crewcap.core.money import ZERO, Money
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores import Limit

ROOT = Path(__file__).parents[3]


class Others:
    """Child processes, each a gateway of its own home, ended with the test."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        home = self.shelf.home.root.with_name(f"home-{len(self.children)}")
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.postgres_process", str(home), self.shelf.url, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.children.append(child)
        assert _line(child) == "ready"
        return child


@pytest.fixture
def others(desk: Shelf) -> Iterator[Others]:
    found = Others(desk)
    yield found
    for child in found.children:
        child.kill()
        child.communicate(timeout=30)


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_two_gateways_take_exactly_what_there_is(desk: Shelf, others: Others) -> None:
    """Sixty cents for one hundred and twenty requests of a cent."""
    ledger = desk.open()
    add_key(ledger, "k1", cap="0.60", clocks=desk.clocks)
    takers = [others.start("take", name, "60") for name in ("a", "b")]
    for child in takers:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert sum(int(_line(child)) for child in takers) == 60
    assert all(child.wait(timeout=30) == 0 for child in takers)
    (balance,) = ledger.balances(KeyId("k1"))
    assert (balance.spent, balance.held, balance.uncertain) == (usd("0.60"), ZERO, ZERO)
    assert ledger.verify().problems == ()


def test_of_two_gateways_the_killed_ones_holds_become_uncertain_and_the_others_stay(
    desk: Shelf, others: Others
) -> None:
    """kill -9: what it sent may have been billed. The next gateway to start sees at once that it is dead."""
    ledger, boot = desk.filled()
    dies, lives = others.start("hold", "second"), others.start("hold", "third")
    assert _line(dies) == _line(lives) == "held"
    os.kill(dies.pid, signal.SIGKILL)
    dies.wait(timeout=30)
    assert [it.hold for it in ledger.open_holds()] == ["second", "third"]
    desk.open(home=Home(desk.home.root.with_name("another"))).start_boot()
    (lost,) = ledger.uncertain_holds()
    assert (lost.hold, lost.uncertain) == ("second", usd("0.30"))
    assert "died before the answer was complete" in lost.reason
    assert [it.hold for it in ledger.open_holds()] == ["third"]
    assert not settle(ledger, "second", "0.01")
    refused = reserve(ledger, boot, "fourth", "0.31")
    assert isinstance(refused, Refused)
    assert refused.can_wait  # for the living one's
    assert isinstance(reserve(ledger, boot, "fifth", "0.30"), Granted)
    assert ledger.verify().problems == ()


def test_a_gateway_that_is_only_stopped_is_not_dead(desk: Shelf, others: Others) -> None:
    """A process that hangs may still be paying for an answer; time alone frees nothing."""
    ledger, _ = desk.filled()
    child = others.start("hold", "second")
    assert _line(child) == "held"
    os.kill(child.pid, signal.SIGSTOP)
    ledger.start_boot()
    assert ledger.uncertain_holds() == ()
    assert [it.hold for it in ledger.open_holds()] == ["second"]


def test_whatever_a_killed_gateway_was_told_is_in_the_books(desk: Shelf, others: Others) -> None:
    """Killed anywhere: every hold that was granted is there, every settlement that was acknowledged counts once."""
    ledger = desk.open()
    add_key(ledger, "k1", cap="1000.00", clocks=desk.clocks)
    told: set[str] = set()
    for name, lines in (("a", 1), ("b", 60), ("c", 203)):
        child = others.start("work", name)
        told |= {_line(child) for _ in range(lines)}
        os.kill(child.pid, signal.SIGKILL)
        assert child.stdout is not None
        told |= set(child.stdout.read().split("\n")[:-1])
        child.wait(timeout=30)
    ledger.start_boot()
    settled = {f"settled {it.hold}" for it in ledger.entries() if it.kind == "settled"}
    held = {f"held {it.hold}" for it in ledger.entries()}
    assert told <= settled | held
    assert len(ledger.uncertain_holds()) <= 3  # at most the one that was under way, each time
    assert ledger.totals(ALL).spent == Money(len(settled) * usd("0.01").nano)
    assert ledger.verify().problems == ()


def test_writers_of_every_kind_never_lock_each_other_out(desk: Shelf) -> None:
    """Holds in opposite orders, ends, limits that come and go, new windows: one lock comes first, so none is deadly."""
    desk.filled()
    for name in ("k2", "k3"):
        add_key(desk.opened[0], name, cap="1000", clocks=desk.clocks)
    before = desk.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

    def live(worker: int) -> None:
        ledger = desk.open(home=Home(desk.home.root.with_name(f"home-{worker}")), busy_s=30.0)
        boot = ledger.start_boot()
        keys = ("k2", "k3") if worker % 2 else ("k3", "k2")
        for turn in range(12):
            names = [f"w{worker}-{turn}-{key}" for key in keys]
            orders = [
                order(name, boot=boot, key=key, amount=usd("0.01")) for name, key in zip(names, keys, strict=True)
            ]
            assert all(isinstance(it, Granted) for it in ledger.reserve_many(orders))
            scope = Scope(f"key:{keys[turn % 2]}")
            ledger.set_limit(Limit(scope=scope, window="day", amount=usd(str(100 + turn + worker)), source="command"))
            for name in reversed(names):
                assert settle(ledger, name, "0.01")
            ledger.unset_limit(scope, "day", source="command")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(live, range(4)))
    assert desk.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == before
    ledger = desk.opened[0]
    assert ledger.totals(ALL).spent == usd("1.06")  # 4 gateways, 12 turns, 2 cents; and the first ten
    assert ledger.verify().problems == ()


def test_a_hold_is_on_the_disk_before_it_is_granted_and_a_settlement_need_not_be(desk: Shelf) -> None:
    ledger, boot = desk.filled()
    all_of_it, rests = [], []
    for number in range(5):
        before, _ = _log(desk)
        assert isinstance(reserve(ledger, boot, f"h{number}", "0.10"), Granted)
        written, on_disk = _log(desk)
        assert on_disk > before
        all_of_it.append(on_disk >= written)
        assert settle(ledger, f"h{number}", "0.00")
        rests.append(_log(desk)[1] <= written)
    assert all_of_it.count(True) >= 4  # the server may write something of its own, or begin a page, meanwhile
    assert any(rests)  # else what was asked before proves nothing
    assert desk.sql("SELECT count(*) FROM crewcap.movement WHERE kind = 'settled'") == [(6,)]


def _log(desk: Shelf) -> tuple[int, int]:
    """How far the server's log is written, and how much of that is on the disk."""
    ends = "pg_current_wal_insert_lsn() - '0/0', pg_current_wal_flush_lsn() - '0/0'"
    ((written, on_disk),) = desk.sql(f"SELECT {ends}")
    return int(written), int(on_disk)


def test_the_ledger_goes_on_when_the_server_comes_back(tmp_path: Path) -> None:
    """A server that loses its power keeps every hold; its gateway is not taken for dead when it returns."""
    with serving() as server:
        desk = Shelf(server, tmp_path)
        ledger, boot = desk.filled()
        assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
        server.kill()
        with pytest.raises(LedgerError, match=r"cannot be reached|was stopped"):
            reserve(ledger, boot, "third", "0.10")
        server.process = start(server.programs, server.folder)
        assert isinstance(reserve(ledger, boot, "third", "0.10"), Granted)
        assert [it.hold for it in ledger.open_holds()] == ["second", "third"]
        desk.open(home=Home(tmp_path / "another")).start_boot()
        assert ledger.uncertain_holds() == ()
        assert settle(ledger, "second", "0.30")
        assert ledger.verify().problems == ()
        desk.end()
        server.end()


def test_a_session_that_the_server_ended_is_opened_again_and_keeps_its_boot(desk: Shelf) -> None:
    """An administrator, a proxy, a network: the gateway lives on, and nobody may bury it."""
    ledger, boot = desk.filled()
    desk.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    decisions: list[Decision] = [reserve(ledger, boot, f"h{number}", "0.10") for number in range(2)]
    assert all(isinstance(it, Granted) for it in decisions)
    desk.open(home=Home(desk.home.root.with_name("another"))).start_boot()
    assert ledger.uncertain_holds() == ()


def test_a_gateway_that_was_buried_while_it_was_away_is_told_so(desk: Shelf, postgres: Server) -> None:
    ledger, boot = desk.filled()
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    other = desk.open(home=Home(desk.home.root.with_name("another")))
    desk.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid = $1",
        ledger._boots._session.process,
    )
    other.start_boot()
    assert [it.hold for it in other.uncertain_holds()] == ["second"]
    with pytest.raises(LedgerError, match="boot has ended") as caught:
        reserve(ledger, boot, "third", "0.10")
    assert "start the gateway again" in caught.value.help
    assert postgres.process.poll() is None


def test_an_abandoned_ledger_leaves_what_it_held_to_the_next_start(desk: Shelf) -> None:
    ledger, boot = desk.filled()
    assert isinstance(reserve(ledger, boot, "second", "0.30"), Granted)
    abandon(ledger)
    desk.opened.remove(ledger)
    again = desk.open()
    assert [it.hold for it in again.open_holds()] == ["second"]
    again.start_boot()
    assert [it.hold for it in again.uncertain_holds()] == ["second"]
