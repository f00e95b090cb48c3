"""How fast the books are: durable reserve + settle pairs, beside the least that any durable ledger must do.

    python benchmarks/ledger.py [--pairs 2000] [--folder DIR]

The floor is a table of one column: insert one row with `synchronous=FULL`, then another with NORMAL, as a reserve
and a settlement commit. Everything runs in one process and one thread, in turns, so that a busy machine slows both;
ratios are what to look at. The ledger's request has five scopes, all of them limited: eight balances each time.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from crewcap.core.budget import ALL, BootId, Granted, HoldId, KeyId, RateKind, Scope, Window
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import COUNT_KINDS, CountLimit, RateLimit
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.home import Home
from crewcap.stores import HoldOrder, Limit, Settlement
from crewcap.stores.sqlite import SqliteLedger

ROUNDS = 5
FLOOR = "raw: insert FULL + insert NORMAL"
SCOPES = (Scope("key:bench"), Scope("run:r1"), Scope("repo:acme/shop"), Scope("team:core"), ALL)
_names = count()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2_000, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where the files go; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ledger, boot = _ledger(Path(folder))
        steps = {
            FLOOR: _raw(Path(folder)),
            "ledger: reserve + settle": _pair(ledger, boot),
            "ledger: the same, 6 rates, 4 counts": _limited_pair(Path(folder)),
            "ledger: 8 orders in one flush": _group(ledger, boot, 8),
            "ledger: 32 orders in one flush": _group(ledger, boot, 32),
        }
        _print(_measure(steps, options.pairs))
        _print_latency(ledger, boot, options.pairs)
        assert ledger.verify().problems == ()
        ledger.close()


def _measure(steps: dict[str, Callable[[], int]], pairs: int) -> dict[str, list[float]]:
    """Pairs a second of each kind, round by round, the kinds taking turns."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            done, began = 0, time.perf_counter()
            while done < pairs // ROUNDS:
                done += step()
            found[name].append(done / (time.perf_counter() - began))
    return found


def _print(found: dict[str, list[float]]) -> None:
    floor = found[FLOOR]
    print(f"{'':36}{'pairs/s':>10}{'of raw':>9}   (median of {ROUNDS} rounds; ratio round by round)")
    for name, rates in found.items():
        ratio = statistics.median(rate / base for rate, base in zip(rates, floor, strict=True))
        print(f"{name:36}{statistics.median(rates):>10,.0f}{ratio:>8.2f}x")


def _print_latency(ledger: SqliteLedger, boot: BootId, pairs: int) -> None:
    reserves, settles = [], []
    for _ in range(pairs):
        order = _order(boot)
        began = time.perf_counter()
        _granted(ledger, order)
        between = time.perf_counter()
        ledger.settle(_end(order.hold))
        reserves.append(between - began)
        settles.append(time.perf_counter() - between)
    for name, seconds in (("reserve", reserves), ("settle", settles)):
        at = statistics.quantiles(seconds, n=100)
        print(f"{name + ', ms':36}{at[49] * 1000:>10.2f} p50{at[98] * 1000:>9.2f} p99{max(seconds) * 1000:>9.2f} max")


def _ledger(folder: Path) -> tuple[SqliteLedger, BootId]:
    ledger = SqliteLedger(Home(folder / "home"), clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    now = datetime.now(UTC)
    key = VirtualKey(id=KeyId("bench"), hash="bench", scopes=SCOPES, created_at=now, run="r1")
    ledger.add_key(key, cap=Money.usd(1_000_000))
    for scope in SCOPES[1:]:
        ledger.set_limit(Limit(scope=scope, window="total", amount=Money.usd(1_000_000), source="command"))
    windows: tuple[tuple[Scope, Window], ...] = ((ALL, "day"), (ALL, "month"), (SCOPES[3], "day"))
    for scope, window in windows:
        ledger.set_limit(Limit(scope=scope, window=window, amount=Money.usd(1_000_000), source="command"))
    return ledger, ledger.start_boot()


def _raw(folder: Path) -> Callable[[], int]:
    db = sqlite3.connect(folder / "raw.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE row (it INTEGER) STRICT")

    def step() -> int:
        for level in ("FULL", "NORMAL"):
            db.execute(f"PRAGMA synchronous = {level}")
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO row VALUES (1)")
            db.execute("COMMIT")
        return 1

    return step


def _pair(ledger: SqliteLedger, boot: BootId) -> Callable[[], int]:
    def step() -> int:
        order = _order(boot)
        _granted(ledger, order)
        ledger.settle(_end(order.hold))
        return 1

    return step


def _limited_pair(folder: Path) -> Callable[[], int]:
    """Reserve + settle in books of their own, where rates and counts are in force beside the money."""
    ledger, boot = _ledger(folder / "limited")
    kinds: tuple[RateKind, ...] = ("tpm", "rpm", "concurrent")
    for scope in (SCOPES[3], ALL):
        for kind in kinds:
            ledger.set_rate(RateLimit(scope=scope, kind=kind, value=10**9, source="command"))
    windows: tuple[Window, ...] = ("day", "month")
    for window in windows:
        for counted in COUNT_KINDS[:2]:
            ledger.set_count(CountLimit(scope=ALL, kind=counted, window=window, value=10**12, source="command"))
    return _pair(ledger, boot)


def _group(ledger: SqliteLedger, boot: BootId, size: int) -> Callable[[], int]:
    def step() -> int:
        orders = [_order(boot) for _ in range(size)]
        assert all(isinstance(decision, Granted) for decision in ledger.reserve_many(orders))
        for order in orders:
            ledger.settle(_end(order.hold))
        return size

    return step


def _granted(ledger: SqliteLedger, order: HoldOrder) -> None:
    decision = ledger.reserve(order)
    if not isinstance(decision, Granted):
        raise SystemExit(f"not granted: {decision}")


def _order(boot: BootId) -> HoldOrder:
    return HoldOrder(
        hold=HoldId(f"h{next(_names)}"),
        boot=boot,
        key=KeyId("bench"),
        amount=Money.usd("0.02"),
        model="claude-sonnet-5",
        provider="anthropic",
        book="b00c",
        prompt_bound=10_000,
        output_limit=16_000,
        asked_output=32_000,
    )


def _end(hold: HoldId) -> Settlement:
    usage = Usage(input=10, cache_read=9_000, write_5m=500, output=400)
    return Settlement(hold=hold, kind="settled", spent=Money.usd("0.01"), uncertain=ZERO, usage=usage, status=200)


if __name__ == "__main__":
    main()
