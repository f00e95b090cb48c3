"""How fast the books are: durable reserve + settle pairs, beside the least that any durable ledger must do.

    python benchmarks/ledger.py [--pairs 2000] [--folder DIR] [--no-postgres]

SQLite's floor is a table of one column: insert one row with `synchronous=FULL`, then another with NORMAL, as a reserve
and a settlement commit; beside it stands one durable update of five rows. PostgreSQL's is one durable update of one
row, in one session. The ledger's request has five scopes, all of them limited: eight balances each time. With several
clients, what they ask for at once is one group; "in turns" is how the gateway's ledger thread hands it in, each group
of holds together with the ends of the one before. Several gateways are threads, each with sessions and a boot of its
own. All of it runs on this machine, server and clients, in turns: a busy machine slows them all, and ratios are what to
look at. CPU is this thread's, user and system.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from crewcap.core.budget import ALL, BootId, Granted, HoldId, KeyId, RateKind, Scope, Window
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import COUNT_KINDS, CountLimit, RateLimit
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.home import Home
from crewcap.stores import HoldOrder, Ledger, Limit, Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger

ROUNDS = 5
RAW_SQLITE = "raw: insert FULL + insert NORMAL"
RAW_FIVE = "raw: update five rows FULL"
RAW_POSTGRES = "raw: update one row, 1 session"
SCOPES = (Scope("key:bench"), Scope("run:r1"), Scope("repo:acme/shop"), Scope("team:core"), ALL)
CLIENTS = (16, 64)
_names = count()
Step = Callable[[], int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2_000, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where the files go; by default a temporary folder")
    parser.add_argument("--no-postgres", action="store_true", help="SQLite alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, ExitStack() as opened:
        _sqlite(Path(folder), options.pairs)
        if not options.no_postgres:
            _postgres(Path(folder), options.folder, options.pairs, opened)


def _sqlite(folder: Path, pairs: int) -> None:
    ledger, boot = _ledger(folder)
    steps = {
        RAW_SQLITE: _raw_sqlite(folder),
        RAW_FIVE: _raw_five(folder),
        "SQLite: 1 client": _pair(ledger, boot),
        "SQLite: 1 client, 6 rates, 4 counts": _limited_pair(*_ledger(folder / "limited")),
        **{f"SQLite: {clients} clients": _group(ledger, boot, clients) for clients in CLIENTS},
        **{f"SQLite: {clients} in turns": _turns(ledger, boot, clients) for clients in (1, *CLIENTS)},
    }
    _print(_measure(steps, pairs), RAW_SQLITE)
    _print_latency(ledger, boot, pairs)
    assert ledger.verify().problems == ()
    ledger.close()


def _postgres(folder: Path, parent: Path | None, pairs: int, opened: ExitStack) -> None:
    from tests.stores.postgres_server import serving  # noqa: PLC0415  (a wheel for developers)

    from crewcap.stores.postgres.ledger import PostgresLedger  # noqa: PLC0415

    server = opened.enter_context(serving(parent=parent or Path(tempfile.gettempdir())))
    url = server.migrated()
    gateways = [PostgresLedger(Home(folder / f"gateway-{n}"), url, monotonic=time.monotonic) for n in range(3)]
    limited = PostgresLedger(Home(folder / "limited-too"), server.migrated(), monotonic=time.monotonic)
    boots = [_fill(gateways[0]), *(gateway.start_boot() for gateway in gateways[1:])]
    alone, boot = gateways[0], boots[0]
    steps = {
        RAW_POSTGRES: _raw_postgres(url, 1, opened),
        "raw: update one row, 16 sessions": _raw_postgres(url, 16, opened),
        "PostgreSQL: 1 client": _pair(alone, boot),
        "PostgreSQL: 1 client, 6 rates, 4 counts": _limited_pair(limited, _fill(limited)),
        **{f"PostgreSQL: {clients} clients": _group(alone, boot, clients) for clients in CLIENTS},
        **{f"PostgreSQL: {clients} in turns": _turns(alone, boot, clients) for clients in (1, *CLIENTS)},
        "PostgreSQL: 2 gateways, 16 clients each": _together(gateways[1:], boots[1:], 16),
    }
    print()
    _print(_measure(steps, pairs), RAW_POSTGRES)
    _print_latency(alone, boot, pairs)
    assert alone.verify().problems == ()
    for gateway in (*gateways, limited):
        gateway.close()


def _measure(steps: dict[str, Step], pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Pairs a second and CPU of a pair in microseconds, of each kind, round by round, the kinds taking turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            done, began, cpu = 0, time.perf_counter(), time.thread_time()
            while done < pairs // ROUNDS:
                done += step()
            found[name].append((done / (time.perf_counter() - began), (time.thread_time() - cpu) / done * 1e6))
    return found


def _print(found: dict[str, list[tuple[float, float]]], raw: str) -> None:
    heads = f"{'a second':>10}{'of raw':>9}{'CPU us':>9}"
    print(f"{'':42}{heads}   (median of {ROUNDS} rounds; ratio round by round)")
    for name, rounds in found.items():
        ratio = statistics.median(one / base for (one, _), (base, _) in zip(rounds, found[raw], strict=True))
        rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:42}{rate:>10,.0f}{ratio:>8.2f}x{cpu:>9.0f}")


def _print_latency(ledger: Ledger, boot: BootId, pairs: int) -> None:
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
        print(f"{name + ', ms':42}{at[49] * 1000:>10.2f} p50{at[98] * 1000:>9.2f} p99{max(seconds) * 1000:>9.2f} max")


def _ledger(folder: Path) -> tuple[SqliteLedger, BootId]:
    ledger = SqliteLedger(Home(folder / "home"), clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    return ledger, _fill(ledger)


def _fill(ledger: Ledger) -> BootId:
    """A key with five scopes, all of them limited, one of them by day and one by day and month as well."""
    key = VirtualKey(id=KeyId("bench"), hash="bench", scopes=SCOPES, created_at=datetime.now(UTC), run="r1")
    ledger.add_key(key, cap=Money.usd(1_000_000))
    for scope in SCOPES[1:]:
        ledger.set_limit(Limit(scope=scope, window="total", amount=Money.usd(1_000_000), source="command"))
    windows: tuple[tuple[Scope, Window], ...] = ((ALL, "day"), (ALL, "month"), (SCOPES[3], "day"))
    for scope, window in windows:
        ledger.set_limit(Limit(scope=scope, window=window, amount=Money.usd(1_000_000), source="command"))
    return ledger.start_boot()


def _raw_sqlite(folder: Path) -> Step:
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


def _raw_five(folder: Path) -> Step:
    """The balances of one request, and nothing else."""
    db = sqlite3.connect(folder / "five.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE balance (id INTEGER PRIMARY KEY, held INTEGER NOT NULL) STRICT")
    db.executemany("INSERT INTO balance (held) VALUES (?)", [(0,)] * 5)

    def step() -> int:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE balance SET held = held + 1")
        db.execute("COMMIT")
        return 1

    return step


def _raw_postgres(url: str, sessions: int, opened: ExitStack) -> Step:
    """Durable updates of one row, each in one round trip of a prepared statement; ten by each session at a time."""
    from crewcap.stores.postgres.session import Session  # noqa: PLC0415

    found = [Session(url, lock_s=30.0) for _ in range(sessions)]
    for session in found:
        opened.callback(session.close)
    table = f"raw_{sessions}"
    for statement in (f"CREATE TABLE {table} (it bigint)", f"INSERT INTO {table} VALUES (0)"):
        found[0].run(lambda db, statement=statement: db.execute(statement), again=False)  # type: ignore[misc]  # a default
    pool = opened.enter_context(ThreadPoolExecutor(sessions))

    def ten(session: Session) -> int:
        for _ in range(10):
            session.run(lambda db: db.fetchval(f"UPDATE {table} SET it = it + 1 RETURNING it"), again=True)
        return 10

    return (lambda: ten(found[0])) if sessions == 1 else (lambda: sum(pool.map(ten, found)))


def _pair(ledger: Ledger, boot: BootId) -> Step:
    def step() -> int:
        order = _order(boot)
        _granted(ledger, order)
        ledger.settle(_end(order.hold))
        return 1

    return step


def _limited_pair(ledger: Ledger, boot: BootId) -> Step:
    """Reserve + settle in books of their own, where rates and counts are in force beside the money."""
    kinds: tuple[RateKind, ...] = ("tpm", "rpm", "concurrent")
    for scope in (SCOPES[3], ALL):
        for kind in kinds:
            ledger.set_rate(RateLimit(scope=scope, kind=kind, value=10**9, source="command"))
    windows: tuple[Window, ...] = ("day", "month")
    for window in windows:
        for counted in COUNT_KINDS[:2]:
            ledger.set_count(CountLimit(scope=ALL, kind=counted, window=window, value=10**12, source="command"))
    return _pair(ledger, boot)


def _group(ledger: Ledger, boot: BootId, size: int) -> Step:
    def step() -> int:
        orders = [_order(boot) for _ in range(size)]
        assert all(isinstance(decision, Granted) for decision in ledger.reserve_many(orders))
        assert all(ledger.settle_many([_end(order.hold) for order in orders]))
        return size

    return step


def _turns(ledger: Ledger, boot: BootId, size: int) -> Step:
    """Groups of holds, each with the ends of the group before."""
    last: list[HoldOrder] = []

    def step() -> int:
        orders = [_order(boot) for _ in range(size)]
        closed, decisions = ledger.settle_and_reserve([_end(order.hold) for order in last], orders)
        assert all(closed)
        assert all(isinstance(decision, Granted) for decision in decisions)
        last[:] = orders
        return size

    return step


def _together(ledgers: Sequence[Ledger], boots: Sequence[BootId], size: int) -> Step:
    """Groups of several gateways at the same time."""
    groups = [_group(ledger, boot, size) for ledger, boot in zip(ledgers, boots, strict=True)]

    def step() -> int:
        with ThreadPoolExecutor(len(groups)) as pool:
            return sum(pool.map(lambda group: sum(group() for _ in range(5)), groups))

    return step


def _granted(ledger: Ledger, order: HoldOrder) -> None:
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
