"""What `crewcap --help` imports, beside a bare interpreter and a bare click: `python benchmarks/startup.py`.

Prints import time by `-X importtime` and wall time as ratios in the same run; the best of several, because the
machine is shared.
"""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 7
ARMS = {
    "bare python": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "crewcap --help": ["-m", "crewcap", "--help"],
    "crewcap runs": ["-m", "crewcap", "--home", "/nonexistent/crewcap", "runs"],
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


def main() -> None:
    """Print one line an arm."""
    base = wall_ms(ARMS["bare python"])
    print(f"{'':16} {'wall':>9} {'x bare':>7} {'imports':>9}  heavy packages")
    for name, arguments in ARMS.items():
        wall = wall_ms(arguments)
        import_ms, heavy = imported(arguments)
        print(f"{name:16} {wall:6.0f} ms {wall / base:6.1f}x {import_ms:6.0f} ms  {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
