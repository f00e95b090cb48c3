"""What commands import, and what a gateway takes to start and to wait: `python benchmarks/startup.py`.

Commands stand beside a bare interpreter and a bare click: import time by `-X importtime`, and wall time. A gateway
stands beside a bare interpreter and one that has imported aiohttp and uvloop alone: wall time until it says that it
listens, its processor time and that of the process that reads its settings, and its memory while it is idle. All of
them take turns in the same run; the best time and the median memory of several, because the machine is shared.
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 7
SETTLE_S = 0.5
ARMS = {
    "bare python": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "crewcap --help": ["-m", "crewcap", "--help"],
    "crewcap runs": ["-m", "crewcap", "--home", "/nonexistent/crewcap", "runs"],
}
_IDLE = "import sys; print('{}', flush=True); sys.stdin.read()"
SERVERS = {
    "bare python": ["-c", _IDLE],
    "aiohttp+uvloop": ["-c", f"import aiohttp, uvloop; {_IDLE}"],
    "gateway": ["-m", "crewcap", "gateway", "--json", "--listen", "127.0.0.1:0"],
}
HEAVY = ("aiohttp", "pydantic", "genai_prices", "rich", "msgspec", "sqlite3", "asyncio", "dbos")


def wall_ms(arguments: list[str]) -> float:
    """The best wall time of a few starts."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        times.append((time.perf_counter() - began) * 1_000)
    return min(times)


def imported(arguments: list[str]) -> tuple[float, list[str]]:
    """Milliseconds spent importing, and which heavy packages were among it."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, check=False, text=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line][1:]
    total_ms = sum(int(row[0]) for row in rows) / 1_000
    names = {row[2].strip().partition(".")[0] for row in rows}
    return total_ms, sorted(names.intersection(HEAVY))


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a process that stays."""

    wall_ms: float  # until its first line
    cpu_ms: float  # its own, and that of what it started and waited for
    rss_mb: float  # a little later, with nothing to do


def start(arguments: list[str], environ: Mapping[str, str]) -> Start:
    """Start it, let it idle, look, and end it."""
    before, began = _cpu_s(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environ},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    wall = time.perf_counter() - began
    time.sleep(SETTLE_S)
    status = Path(f"/proc/{process.pid}/status").read_text()
    rss = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmRSS:"))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    if not line:
        raise SystemExit(f"{arguments} said nothing")
    return Start(wall_ms=wall * 1_000, cpu_ms=(_cpu_s() - before) * 1_000, rss_mb=rss / 1_024)


def _cpu_s() -> float:
    """Processor time of every child so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands() -> None:
    """One line a command."""
    base = wall_ms(ARMS["bare python"])
    print(f"{'':16} {'wall':>9} {'x bare':>7} {'imports':>9}  heavy packages")
    for name, arguments in ARMS.items():
        wall = wall_ms(arguments)
        import_ms, heavy = imported(arguments)
        print(f"{name:16} {wall:6.0f} ms {wall / base:6.1f}x {import_ms:6.0f} ms  {', '.join(heavy) or 'none'}")


def gateway() -> None:
    """A gateway beside what nobody can do without."""
    starts: dict[str, list[Start]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "CREWCAP_HOME": f"{home}/state", "ANTHROPIC_API_KEY": "sk-ant-fake-startup"}
        for _ in range(ROUNDS):
            for name, arguments in SERVERS.items():
                starts[name].append(start(arguments, environ))
    best = {name: _best(found) for name, found in starts.items()}
    bare, floor = best["bare python"], best["aiohttp+uvloop"]
    print(f"\n{'':16} {'start':>9} {'x aio':>9} {'cpu':>9} {'x aio':>9} {'idle':>8} {'x bare':>7} {'x aio':>9}")
    for name, each in best.items():
        print(
            f"{name:16} {each.wall_ms:6.0f} ms {each.wall_ms / floor.wall_ms:8.1f}x"
            f" {each.cpu_ms:6.0f} ms {each.cpu_ms / floor.cpu_ms:8.1f}x"
            f" {each.rss_mb:5.1f} MB {each.rss_mb / bare.rss_mb:6.1f}x {each.rss_mb / floor.rss_mb:8.2f}x"
        )


def _best(found: list[Start]) -> Start:
    return Start(
        wall_ms=min(each.wall_ms for each in found),
        cpu_ms=min(each.cpu_ms for each in found),
        rss_mb=statistics.median(each.rss_mb for each in found),
    )


def main() -> None:
    """Both tables."""
    commands()
    gateway()


if __name__ == "__main__":
    main()
