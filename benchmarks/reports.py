"""What reports cost over a large ledger, beside reading its rows raw: `python -m benchmarks.reports [ENTRIES]`.

A ledger with a million closed requests of some thirty thousand runs over ninety days is made on the ledger's schema,
its rows put in directly (booking a million requests one by one takes a quarter of an hour). Then, in CPU-seconds of
fresh processes, best of three:

    count, sum    one bare statement over the movements: what SQLite takes to look at each of them once
    raw rows      every closed request joined with its hold and fetched into Python, and added up there
    first report  from nothing added up yet: it adds up a million requests, and remembers that
    report ...    the command as a user calls it, imports and prices included

All sums must be equal to the last unit, or the run fails.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.report import FOLDER, Report, Table

from crewcap import __version__, prices
from crewcap.core.cards import Kept
from crewcap.core.pricing import Modifiers, Usage
from crewcap.home import Home
from crewcap.stores.clock import micros
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.prices import SqlitePriceNotes

ENTRIES = 1_000_000
DAYS, TURNS = 90, 30
ROUNDS = 3
MODELS = ("claude-sonnet-5", "claude-opus-4-8", "claude-haiku-4-5")
END = datetime(2026, 11, 22, 20, tzinfo=UTC)
REPORTS = (
    ("report", "day", "--by", "model"),
    ("report", "month"),
    ("report", "team", "--since", "2026-11"),
    ("report", "user", "--by", "model"),
    ("report", "run", "--top", "20"),
    ("report", "issue", "--top", "20"),
    ("report", "model", "--since", "7d"),
    ("stats",),
    ("cost", "--since", "2026-11-01"),
    ("export", "focus", "--since", "2026-11", "--output", os.devnull),
    ("cap", "suggest"),
    ("forecast",),
)


def make(home: Home, entries: int) -> None:
    """A ledger of so many closed requests."""
    home.make()
    ledger = SqliteLedger(home, clock=lambda: END, monotonic=time.monotonic)
    boot = ledger.start_boot()
    ledger.stop_boot(boot)
    ledger.close()
    db = sqlite3.connect(home.ledger, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    made = list(_requests(entries, boot))
    keys = {key for _, key, *_ in made}
    for key in sorted(keys):
        _add_key(db, key)
    holds = (
        (
            n,
            f"hold-{n:012x}",
            boot,
            f"k{key}",
            at,
            10**9,
            "anthropic",
            model,
            "b00c",
            10**5,
            16_000,
            16_000,
            agent,
            "",
            "[]",
        )
        for n, (at, key, model, agent, _, _, _) in enumerate(made, start=1)
    )
    dropped = _without_triggers(db)
    db.executemany(f"INSERT INTO hold VALUES ({', '.join('?' * 15)})", holds)
    db.executemany(f"INSERT INTO movement ({_MOVED}) VALUES ({', '.join('?' * 22)})", _movements(made))
    for statement in dropped:
        db.execute(statement)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    SqlitePriceNotes(home).keep(_cards())


_MOVED = (
    "id, hold, kind, held_delta, uncertain_delta, spent_delta, notional_delta, at, wall, input, cache_read, write_5m,"
    " write_1h, output, thinking, pieces, model, card, request_id, status, reason, raw_usage"
)


def _cards() -> list[Kept]:
    """The cards that everything was settled at, as a gateway keeps them."""
    book = prices.load()
    found = [book.card("anthropic", model, at=END) for model in MODELS]
    return [Kept(card=card, modifiers=Modifiers(), book=book.hash, at=END) for card in found]


def _requests(entries: int, boot: str) -> Iterator[tuple[int, int, str, str, Usage, int, str]]:
    del boot
    rng = random.Random(7)
    cards = {model: each.card for model, each in zip(MODELS, _cards(), strict=True)}
    runs = -(-entries // TURNS)
    start = END - timedelta(days=DAYS)
    for number in range(entries):
        run, turn = divmod(number, TURNS)
        at = micros(start + timedelta(days=DAYS) * run / runs + timedelta(seconds=25 * turn))
        inner = turn % 10 == 9
        model = MODELS[2] if inner else MODELS[run % 10 == 0]
        usage = Usage(
            input=rng.randint(2, 60),
            cache_read=12_000 + 2_500 * turn,
            write_5m=rng.randint(300, 6_000),
            output=rng.randint(50, 2_000),
            thinking=20,
        )
        yield at, run, model, "sub" if inner else "", usage, cards[model].cost(usage).nano, cards[model].id


def _movements(made: list[tuple[int, int, str, str, Usage, int, str]]) -> Iterator[tuple[object, ...]]:
    raw = json.dumps(
        {"input_tokens": 12, "cache_read_input_tokens": 50_000, "output_tokens": 900, "service_tier": "standard"}
    )
    for number, (at, _, model, _, usage, cost, card) in enumerate(made, start=1):
        nothing = (0, 0, 0, 0, 0, 0)
        yield (2 * number - 1, number, "sent", 10**9, 0, 0, 0, at, at, *nothing, "{}", "", "", "", 0, "", "")
        tokens = (usage.input, usage.cache_read, usage.write_5m, usage.write_1h, usage.output, usage.thinking)
        name = f"req_{number:024x}"
        yield (
            2 * number,
            number,
            "settled",
            -(10**9),
            0,
            cost,
            0,
            at,
            at,
            *tokens,
            "{}",
            model,
            card,
            name,
            200,
            "",
            raw,
        )


def _add_key(db: sqlite3.Connection, run: int) -> None:
    at = micros(END)
    key, name = f"k{run}", f"01run{run:012d}"
    db.execute(
        "INSERT INTO virtual_key (seq, id, hash, created_at, booked_at, models, capped, run, label)"
        " VALUES (?, ?, ?, ?, ?, '[]', 0, ?, ?)",
        (run + 1, key, f"h{run}", at, at, name, f"fix.{run}"),
    )
    scopes = (
        f"key:{key}",
        f"run:{name}",
        f"issue:files/{run % 4_000}",
        f"repo:acme/{run % 12}",
        f"user:dev{run % 25}",
        f"team:{run % 4}",
        "all",
    )
    db.executemany("INSERT INTO key_scope VALUES (?, ?, ?)", [(key, scope, n) for n, scope in enumerate(scopes)])


def _without_triggers(db: sqlite3.Connection) -> list[str]:
    """Drop the movement's triggers; the statements that bring them back."""
    found = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'movement'"
    ).fetchall()
    for name, _ in found:
        db.execute(f"DROP TRIGGER {name}")
    return [sql for _, sql in found]


def crewcap(home: Home, *words: str) -> tuple[float, str]:
    """A command in a process of its own: CPU-seconds, and what it says."""
    before = os.times()
    command = [sys.executable, "-m", "crewcap", "--home", str(home.root), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "CREWCAP_CONFIG": ""})
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, done.stdout


def cpu(work: Callable[[], int]) -> tuple[float, int]:
    """CPU-seconds of this process, and what came of it."""
    before = time.process_time()
    found = work()
    return time.process_time() - before, found


def bare(home: Home) -> int:
    """Count and sum."""
    db = sqlite3.connect(home.ledger)
    row = db.execute("SELECT count(*), sum(spent_delta + uncertain_delta) FROM movement").fetchone()
    db.close()
    return int(row[1])


def raw(home: Home) -> int:
    """Every closed request into Python."""
    db = sqlite3.connect(home.ledger)
    rows = db.execute(
        "SELECT h.booked_at, h.key, m.model, m.spent_delta + m.uncertain_delta, m.input, m.cache_read, m.write_5m,"
        " m.output FROM hold AS h JOIN movement AS m ON m.hold = h.seq AND m.kind = 'settled'"
    )
    whole = 0
    for row in rows:
        whole += row[3]
    db.close()
    return whole


def main() -> None:
    """Make the ledger, and measure."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    report = Report(name="reports", versions={"crewcap": __version__})
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "state")
        make(home, entries)
        size_mb = home.ledger.stat().st_size // 2**20
        counted, whole = min(cpu(lambda: bare(home)) for _ in range(ROUNDS))
        fetched, same = min(cpu(lambda: raw(home)) for _ in range(ROUNDS))
        if same != whole:
            raise SystemExit("the raw rows do not add up to the movements")
        nothing = min(crewcap(home, "--version")[0] for _ in range(ROUNDS))
        new = Home(Path(folder) / "new")
        start = min(crewcap(new, "report", "day")[0] for _ in range(ROUNDS))
        rows = [
            ("count, sum", counted),
            ("raw rows", fetched),
            ("crewcap --version", nothing),
            ("report of nothing", start),
        ]
        first, said = crewcap(home, "report", "month", "--json")
        cost = json.loads(said)["total"]["cost_usd"].replace(".", "")
        if int(cost) != whole:
            raise SystemExit(f"the report says {cost}, the movements {whole}")
        rows.append(("first report", first))
        rows += [(" ".join(words), min(crewcap(home, *words)[0] for _ in range(ROUNDS))) for words in REPORTS]
        cells = [
            (name, f"{seconds:.2f}", f"{seconds / fetched:.1f}", f"{seconds / counted:.1f}") for name, seconds in rows
        ]
        report.add(
            Table(
                title=f"{entries:,} closed requests of {len(range(0, entries, TURNS)):,} runs, {size_mb:,} MB",
                head=("what", "CPU s", "x raw rows", "x count, sum"),
                rows=cells,
                note=f"Whole commands in processes of their own, the least of {ROUNDS}; sums equal to the last unit.",
            )
        )
        report.data = {"measured": dict(rows)}
        report.write(FOLDER)


if __name__ == "__main__":
    main()
