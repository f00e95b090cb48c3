"""Several processes on one ledger, and processes that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.books import Shelf, add_key, reserve, settle, usd

from crewcap.core.budget import ALL, Granted, KeyId, Refused
from crewcap.core.limits import RateLimit
from crewcap.core.money import ZERO, Money

ROOT = Path(__file__).parents[3]


class Others:
    """Child processes, ended with the test."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.ledger_process", str(self.shelf.home.root), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.children.append(child)
        assert _line(child) == "ready"
        return child


@pytest.fixture
def others(shelf: Shelf) -> Iterator[Others]:
    found = Others(shelf)
    yield found
    for child in found.children:
        child.kill()
        child.communicate(timeout=30)


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_two_processes_take_exactly_what_there_is(shelf: Shelf, others: Others) -> None:
    """Sixty cents for one hundred and twenty requests of a cent."""
    ledger = shelf.open()
    add_key(ledger, "k1", cap="0.60", at=shelf.clocks.wall)
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
    ledger.close()


def test_two_processes_send_exactly_as_many_as_a_rate_allows(shelf: Shelf, others: Others) -> None:
    """Twenty requests a minute for eighty of two gateways; their clocks stand still."""
    ledger = shelf.open()
    add_key(ledger, "k1", cap="9.00", at=shelf.clocks.wall)
    ledger.set_rate(RateLimit(scope=ALL, kind="rpm", value=20, source="command"))
    takers = [others.start("take", name, "40") for name in ("a", "b")]
    for child in takers:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert sum(int(_line(child)) for child in takers) == 20
    assert all(child.wait(timeout=30) == 0 for child in takers)
    assert [it.left for it in ledger.rates()] == [0]
    assert ledger.verify().problems == ()
    ledger.close()


def test_a_gateway_killed_between_hold_and_settlement_leaves_the_hold_charged(shelf: Shelf, others: Others) -> None:
    """kill -9: what was sent may have been billed, so it counts until somebody says what it cost."""
    ledger, _ = shelf.filled()
    child = others.start("hold", "second")
    assert _line(child) == "held"
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    assert [it.hold for it in ledger.open_holds()] == ["second"]
    boot = ledger.start_boot()
    (lost,) = ledger.uncertain_holds()
    assert (lost.hold, lost.uncertain) == ("second", usd("0.30"))
    assert "died before the answer was complete" in lost.reason
    assert not settle(ledger, "second", "0.01")
    refused = reserve(ledger, boot, "third", "0.61")
    assert isinstance(refused, Refused)
    assert not refused.can_wait
    assert isinstance(reserve(ledger, boot, "fourth", "0.60"), Granted)
    assert ledger.verify().problems == ()
    ledger.close()


def test_a_gateway_that_is_only_stopped_is_not_dead(shelf: Shelf, others: Others) -> None:
    """A process that hangs may still be paying for an answer; time alone frees nothing."""
    ledger, _ = shelf.filled()
    child = others.start("hold", "second")
    assert _line(child) == "held"
    os.kill(child.pid, signal.SIGSTOP)
    ledger.start_boot()
    assert ledger.uncertain_holds() == ()
    assert [it.hold for it in ledger.open_holds()] == ["second"]
    ledger.close()


def test_whatever_a_killed_gateway_was_told_is_in_the_books(shelf: Shelf, others: Others) -> None:
    """Killed anywhere: every hold that was granted is there, every settlement that was acknowledged counts once."""
    ledger = shelf.open()
    add_key(ledger, "k1", cap="1000.00", at=shelf.clocks.wall)
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
    ledger.close()


def test_books_that_are_opened_twice_keep_their_locks_when_another_process_ends(shelf: Shelf, others: Others) -> None:
    """A process that closes a file loses its locks on it; the next one to end would remove the WAL under the first."""
    ledger = shelf.open()
    add_key(ledger, "k1", cap="100.00", at=shelf.clocks.wall)
    shelf.open().close()
    child = others.start("take", "a", "3")
    out, _ = child.communicate("go\n", timeout=30)
    assert out == "3\n"
    settled = ledger.totals(ALL).spent
    assert shelf.home.ledger.with_name("ledger.db-wal").exists()
    assert isinstance(reserve(ledger, ledger.start_boot(), "mine", "0.01"), Granted)
    assert settle(ledger, "mine", "0.01")
    ledger.close()
    after = shelf.open()
    assert after.totals(ALL).spent == settled + usd("0.01")
    after.close()
