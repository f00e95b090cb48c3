"""What past usage cost, by the transcripts on a disk: ours beside ccusage, right and fast.

    python -m benchmarks.transcripts [--large] [--times N] [--seed N] [--folder DIR]

A tree of Claude Code transcripts is made with every trap that readers fell into and a known true total
(`tests/transcripts/trees.py`): 100 MB, with `--large` 1 GB as well. Then, in one run and on the same files:

- **Right?** The total of `crewcap usage import` and that of ccusage (from npm, offline, so with the prices that it
  carries), each with its error.
- **Fast?** CPU seconds and peak memory of whole commands, in turns, the least of N: the first import into a new home,
  one that finds nothing new, and ccusage, which has no index and reads everything each time. Beside them what nothing
  can be quicker than: merely reading the bytes into one buffer, and merely walking the files.

Files are in the page cache. CPU seconds are of user and system together; they hold on a busy machine, wall time does
not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import CACHE
from benchmarks.processes import NotRunning
from benchmarks.report import FOLDER, Report, Table
from tests.transcripts.trees import Truth, make

from crewcap import __version__
from crewcap.core.money import Money
from crewcap.stores.usage.index import UsageIndex
from crewcap.transcripts import READERS, reader
from crewcap.transcripts.importing import Importer

CCUSAGE = "20.0.24"
SMALL_MB, LARGE_MB = 100, 1_000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command used, and what it said."""

    cpu_s: float
    peak_mb: float
    said: str = ""


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="1 GB, too")
    parser.add_argument("--times", type=int, default=3, help="the least of so many")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results go")
    asked = parser.parse_args()
    report = Report(name="transcripts", versions={"crewcap": __version__})
    ccusage = _ccusage(report)
    data = {}
    for megabytes in (SMALL_MB, *((LARGE_MB,) if asked.large else ())):
        with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder:
            bench = Bench(Path(folder), megabytes, seed=asked.seed, times=asked.times, ccusage=ccusage)
            data[f"{megabytes} MB"] = bench.run(report)
    report.data = {"measured": data}
    report.write(asked.folder)


class Bench:
    """One tree, and everybody who reads it."""

    def __init__(self, folder: Path, megabytes: int, *, seed: int, times: int, ccusage: Path | None) -> None:
        self.folder, self.megabytes, self.times, self.ccusage = folder, megabytes, times, ccusage
        self.tree = folder / "claude" / "projects"
        self.truth = make(self.tree, seed=seed, megabytes=megabytes)

    def run(self, report: Report) -> dict[str, object]:
        """Measure everything."""
        (self.folder / "nothing").mkdir()
        read: list[float] = []
        walk: list[float] = []
        cold: list[Cost] = []
        again: list[Cost] = []
        start: list[Cost] = []
        theirs: list[Cost] = []
        for _ in range(self.times):  # in turns, so that a machine that others use slows all of them
            read += self._timed(self._read)
            walk += self._timed(self._walk)
            cold.append(self._import(fresh=True))
            again.append(self._import(fresh=False))
            start.append(self._crewcap("usage", "import", str(self.folder / "nothing"), home="empty"))
            theirs += [self._theirs()] if self.ccusage else []
        least = {"read": min(read), "walk": min(walk), "rescan": self._rescan()}
        report.add(self._exactness(cold[-1], theirs))
        report.add(self._speed(least, _least(start), _least(cold), _least(again), theirs))
        return {
            "files": self.truth.files,
            "bytes": self.truth.size,
            "messages": self.truth.messages,
            "true_usd": Money(self.truth.nano).exact(),
            "crewcap_usd": json.loads(cold[-1].said)["cost_usd"],
            "ccusage_usd": json.loads(theirs[-1].said)["totals"]["totalCost"] if theirs else None,
            "read_cpu_s": least["read"],
            "walk_cpu_s": least["walk"],
            "rescan_in_process_cpu_s": least["rescan"],
            "start_cpu_s": _least(start).cpu_s,
            "cold_cpu_s": _least(cold).cpu_s,
            "cold_peak_mb": _least(cold).peak_mb,
            "unchanged_cpu_s": _least(again).cpu_s,
            "ccusage_cpu_s": _least(theirs).cpu_s if theirs else None,
            "ccusage_peak_mb": _least(theirs).peak_mb if theirs else None,
        }

    def _exactness(self, ours: Cost, theirs: Sequence[Cost]) -> Table:
        said = json.loads(ours.said)
        rows = [["true total", Money(self.truth.nano).exact(), "", f"{self.truth.messages:,}"]]
        rows.append(
            ["crewcap", said["cost_usd"], _error(Money.usd(said["cost_usd"]), self.truth), f"{said['messages']:,}"]
        )
        if theirs:
            total = json.loads(theirs[-1].said)["totals"]["totalCost"]
            rows.append(
                [f"ccusage {CCUSAGE}", f"{total:.9f}", _error(Money(round(total * 1e9)), self.truth), "not told"]
            )
        return Table(
            title=f"Right? {self.megabytes:,} MB, {self.truth.files:,} files",
            head=("who", "dollars", "error", "messages"),
            rows=rows,
            note=f"{self.truth.unpriced:,} messages are of a model that nobody sells; they are in no total.",
        )

    def _speed(self, least: Mapping[str, float], start: Cost, cold: Cost, again: Cost, theirs: Sequence[Cost]) -> Table:
        read_s, walk_s, rescan_s = least["read"], least["walk"], least["rescan"]
        rows = [
            ["merely reading the bytes", f"{read_s:.3f}", "1.0", "", ""],
            ["crewcap, first import", f"{cold.cpu_s:.2f}", f"{cold.cpu_s / read_s:.1f}", "", f"{cold.peak_mb:.0f}"],
            ["crewcap, nothing new", f"{again.cpu_s:.2f}", f"{again.cpu_s / read_s:.1f}", "", f"{again.peak_mb:.0f}"],
            [
                "of both: starting the command",
                f"{start.cpu_s:.2f}",
                f"{start.cpu_s / read_s:.1f}",
                "",
                f"{start.peak_mb:.0f}",
            ],
            ["merely walking the files", f"{walk_s:.3f}", "", "1.0", ""],
            ["crewcap, nothing new, inside", f"{rescan_s:.3f}", "", f"{rescan_s / walk_s:.1f}", ""],
        ]
        if theirs:
            best = _least(theirs)
            rows.append(
                [f"ccusage {CCUSAGE}", f"{best.cpu_s:.2f}", f"{best.cpu_s / read_s:.1f}", "", f"{best.peak_mb:.0f}"]
            )
        share = f" The first import takes {cold.cpu_s / _least(theirs).cpu_s:.2f} of ccusage's CPU." if theirs else ""
        return Table(
            title=f"Fast? {self.megabytes:,} MB, {self.truth.files:,} files",
            head=("what", "CPU s", "x reading", "x walking", "peak MB"),
            rows=rows,
            note=f"Whole commands but where it says otherwise; the least of {self.times}.{share}",
        )

    # --- those who read

    def _import(self, *, fresh: bool) -> Cost:
        if fresh:
            shutil.rmtree(self.folder / "home", ignore_errors=True)
        return self._crewcap("usage", "import", str(self.tree), "--json")

    def _crewcap(self, *words: str, home: str = "home") -> Cost:
        said = ["--home", str(self.folder / home)]
        return _measured([sys.executable, "-m", "crewcap", *words, *said], self._environ())

    def _theirs(self) -> Cost:
        said = {**self._environ(), "CLAUDE_CONFIG_DIR": str(self.tree.parent)}
        return _measured([str(self.ccusage), "claude", "monthly", "--json", "--offline"], said)

    def _environ(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    def _rescan(self) -> float:
        """The same without the command around it: walk, compare with the index, read nothing."""
        index = UsageIndex(self.folder / "home" / "usage.db")
        importer = Importer(index=index, readers=[reader(name) for name in READERS], nano_of=lambda _: None)
        importer.run([self.folder / "home"])
        seconds = min(each for _ in range(self.times) for each in self._timed(lambda: importer.run([self.tree])))
        index.close()
        return seconds

    def _read(self) -> None:
        """Every byte into one buffer."""
        buffer = bytearray(1 << 20)
        for path in _files(self.tree):
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (as little as can be)
                while file.readinto(buffer):
                    pass

    def _walk(self) -> None:
        for _ in _files(self.tree):
            pass

    def _timed(self, work: Callable[[], object]) -> Sequence[float]:
        """CPU seconds of this process, twice in a row."""
        found = []
        for _ in range(2):
            began = time.process_time()
            work()
            found.append(time.process_time() - began)
        return found


def _files(folder: Path | str) -> Iterator[str]:
    """Every file, with its size and time looked at."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                entry.stat()
                yield entry.path


def _least(costs: Sequence[Cost]) -> Cost:
    return min(costs, key=lambda cost: cost.cpu_s)


def _error(said: Money, truth: Truth) -> str:
    difference = said.nano - truth.nano
    return f"{difference / truth.nano:+.2%}" if difference else "0, to the last unit"


def _measured(command: Sequence[str], environ: Mapping[str, str]) -> Cost:
    """Run a command to its end; its CPU time and peak memory are its own and its children's."""
    process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read()
    complaint = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise NotRunning(f"{command[0]}: {complaint.strip()[-300:]}")
    return Cost(cpu_s=used.ru_utime + used.ru_stime, peak_mb=used.ru_maxrss / 1_024, said=said)


def _ccusage(report: Report) -> Path | None:
    """The rival's program; without it the rest is measured."""
    try:
        program = install_ccusage(CACHE)
    except NotRunning as error:
        report.notes.append(f"ccusage {CCUSAGE} was not run: {error}")
        return None
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    report.versions["ccusage"] = told.stdout.strip().rpartition(" ")[2]
    return program


def install_ccusage(cache: Path) -> Path:
    """The native program itself, so that no Node is measured; in a folder of its own."""
    home = cache / f"ccusage-{CCUSAGE}"
    if not (home / "node_modules").exists():
        print(f"installing ccusage@{CCUSAGE} in {home} ...", file=sys.stderr)
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(home), f"ccusage@{CCUSAGE}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotRunning(f"npm: {error.strerror}") from error
        if done.returncode:
            raise NotRunning((done.stderr.strip().splitlines() or ["npm failed"])[-1][:200])
    found = sorted((home / "node_modules" / "@ccusage").glob("*/bin/ccusage"))
    if not found:
        raise NotRunning("npm did not bring a program for this machine")
    return found[0]


if __name__ == "__main__":
    main()
