"""What unattended runs cost beside the work itself.

    python -m benchmarks.night [--quick] [--results DIR]

A real `crewcap serve` on a home of its own, with the night's agent (`torture/night_agent.py`: three requests, two
edits) in the place of Claude Code and a scripted provider. Four questions, each with the bare limit beside it:

    start     from the moment a run is in the books to its first request at the gateway, by step; the bare limit is the
              same agent started by hand in a `git clone --shared`, with no gateway, no sandbox, no books
    idle      what the three processes take of a processor while nothing is to be done, and what they hold
    memory    what a waiting run and a running run add
    queue     two hundred queued runs that may not start: what looking at them takes, and what `status` takes with them
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.report import FOLDER, Report, Table
from torture.night_town import SCRIPT, Town

from crewcap import __version__
from crewcap.core.budget import Scope
from crewcap.core.runs import Run, RunState
from crewcap.simulator.server import Simulator

_TICKS = os.sysconf("SC_CLK_TCK")
_LIMIT_S = 120.0
ROLES = ("supervisor", "gateway", "worker")


def main() -> None:
    """Ask the four questions, one town each."""
    parser = argparse.ArgumentParser(prog="benchmarks.night")
    parser.add_argument("--quick", action="store_true", help="few of everything")
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="DIR")
    asked = parser.parse_args()
    report = Report(name="night", versions={"crewcap": __version__})
    few = asked.quick
    report.add(_start(5 if few else 40))
    report.add(_idle(5 if few else 60))
    report.add(_memory(waiting=10 if few else 50, running=3 if few else 8))
    report.add(_queue(20 if few else 200, seconds=5 if few else 30))
    if not few:
        report.write(asked.results)


@contextmanager
def _town(issues: int, *changes: tuple[str, str]) -> Iterator[Town]:
    """A home with a serve at work; `changes` of its settings."""
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder, Simulator.in_thread(SCRIPT) as simulator:
        town = Town(root=Path(folder), simulator=simulator)
        town.root.chmod(0o755)
        town.set_up(issues)
        text = town.config.read_text("utf-8")
        for before, after in changes:
            text = text.replace(before, after)
        town.config.write_text(text, "utf-8")
        try:
            town.start()
            if not town.ready():
                raise SystemExit(f"serve did not start: {(town.root / 'serve.log').read_text()[-500:]}")
            yield town
        finally:
            town.close()


def _start(count: int) -> Table:
    """One run after another, each in the books first and then at the gateway."""
    steps: dict[str, list[float]] = {}
    with _town(count + 1) as town:
        for number in range(count + 1):
            run = town.hand_over(number)
            if not town.until(partial(_rests, town, run.id), _LIMIT_S):
                raise SystemExit(f"{run.name} did not end")
            if number:  # the first one fills caches
                for name, seconds in _passed(town, run.id):
                    steps.setdefault(name, []).append(seconds)
        bare = [_by_hand(town, number) for number in range(min(count, 10))]
    rows = [[name, *_two(values)] for name, values in steps.items()]
    whole = [sum(each) for each in zip(*steps.values(), strict=True)]
    rows += [["in all", *_two(whole)], ["bare: clone and agent by hand", *_two(bare)]]
    rows.append(["in all / bare", f"{statistics.median(whole) / statistics.median(bare):.1f}x", ""])
    note = f"{count} runs, one after another; milliseconds."
    return Table(title="From accepted to the first request", head=("step", "p50", "p99"), rows=rows, note=note)


def _passed(town: Town, id_: str) -> Iterator[tuple[str, float]]:
    """How long each step took, by the run's own story."""
    run = next(run for run in town.runs.list(limit=1_000) if run.id == id_)
    first = min(entry.booked_at for entry in town.ledger.entries(scope=Scope(f"run:{id_}")))
    at = {event.text.split(":")[0].split()[0]: event.at for event in reversed(town.runs.story(run.id))}
    moments = (
        ("accepted", run.created_at),
        ("let in", at["preparing"]),
        ("workspace", at["workspace"]),
        ("first check", at["running"]),
        ("sandbox, agent, request", first),
    )
    for (_, before), (name, after) in pairwise(moments):
        yield name, (after - before).total_seconds()


def _by_hand(town: Town, number: int) -> float:
    """A clone that borrows objects, and the agent in it, until it is done with the first of its requests."""
    place = town.root / f"bare-{number}"
    place.mkdir()
    began = time.perf_counter()
    subprocess.run(("git", "clone", "--quiet", "--shared", str(town.shop), str(place / "clone")), check=True)
    words = (str(town.agent), "--session-id", f"bare-{number}", "--model", "claude-sonnet-5-5")
    environ = {**town.environ(), "HOME": str(place), "ANTHROPIC_BASE_URL": town.simulator.url}
    with subprocess.Popen(
        words, cwd=place / "clone", env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write("go\n")
        agent.stdin.flush()
        agent.stdout.readline()  # it is up, and about to ask
        took = time.perf_counter() - began
        agent.kill()
    return took


def _idle(seconds: int) -> Table:
    """Nothing to do."""
    with _town(1) as town:
        town.until(lambda: False, 5)
        pids = _pids(town)
        before = {role: _cpu_s(pid) for role, pid in pids.items()}
        time.sleep(seconds)
        rows = [
            [role, f"{100 * (_cpu_s(pid) - before[role]) / seconds:.2f} %", f"{_resident(pid) / 1e6:.0f} MB"]
            for role, pid in pids.items()
        ]
    with subprocess.Popen(
        (sys.executable, "-c", "import asyncio; asyncio.run(asyncio.sleep(60))"), stdin=subprocess.DEVNULL
    ) as bare:
        time.sleep(1)
        rows.append(["bare: Python that waits", "0.00 %", f"{_resident(bare.pid) / 1e6:.0f} MB"])
        bare.kill()
    note = f"{seconds} s without work; of one processor."
    return Table(title="Idle", head=("process", "processor", "resident"), rows=rows, note=note)


def _memory(*, waiting: int, running: int) -> Table:
    """What runs add to the worker."""
    with _town(running, ("all = 5", "all = 0"), ("repo = 5", "repo = 0")) as town:
        _put_to_sleep(town)
        worker = _pids(town)["worker"]
        town.until(lambda: False, 3)
        empty = _resident(worker)
        for number in range(running):
            town.hand_over(number)
        town.until(lambda: _states(town).count(RunState.RUNNING) == running, _LIMIT_S)
        town.until(lambda: False, 3)
        full = _resident(worker)
        inside = [_pss(member.pid) for member in town.everybody() if member.pid not in _pids(town).values()]
    with _town(1) as town:
        worker = _pids(town)["worker"]
        template = town.hand_over(0)
        town.until(lambda: _rests(town, template.id), _LIMIT_S)
        before = _resident(worker)
        for number in range(waiting):
            _rest_waiting(town, template, number)
        town.until(lambda: False, 15)
        after = _resident(worker)
    rows = [
        ["a waiting run, in the worker", f"{max(0, after - before) / waiting / 1e3:.0f} kB"],
        ["a running run, in the worker", f"{max(0, full - empty) / running / 1e3:.0f} kB"],
        ["a running run, its sandbox and agent", f"{sum(inside) / running / 1e6:.1f} MB"],
    ]
    note = f"{waiting} waiting runs, {running} running ones whose agents do nothing; the sandbox by its share of pages."
    return Table(title="Memory of a run", head=("of", "holds"), rows=rows, note=note)


def _queue(count: int, *, seconds: int) -> Table:
    """Runs that may not start, because the one slot is taken by nobody who ends."""
    with _town(count, ("all = 5", "all = 1")) as town:
        quiet = [_took(town, "status") for _ in range(3)]
        _put_to_sleep(town)
        began = time.perf_counter()
        for number in range(count):
            town.hand_over(number)
        took = time.perf_counter() - began
        told = town.until(lambda: sum(bool(run.queued_for) for run in _open(town)) == count - 1, _LIMIT_S)
        worker = _pids(town)["worker"]
        before = _cpu_s(worker)
        time.sleep(seconds)
        busy = (_cpu_s(worker) - before) / seconds
        full = [_took(town, "status") for _ in range(3)]
    rows = [
        ["a run handed over", f"{1e3 * took / count:.0f} ms"],
        ["every run is told why it waits", "yes" if told else "no"],
        ["the worker meanwhile", f"{100 * busy:.1f} % of a processor"],
        ["`crewcap status`, none queued", f"{statistics.median(quiet):.2f} s of a processor"],
        [f"`crewcap status`, {count} queued", f"{statistics.median(full):.2f} s of a processor"],
    ]
    return Table(title=f"{count} queued runs", head=("what", "takes"), rows=rows)


def _put_to_sleep(town: Town) -> None:
    """From now on the agent does nothing at all."""
    text = town.agent.read_text("utf-8").replace(
        '    say(type="system"', '    time.sleep(600)\n    say(type="system"', 1
    )
    town.agent.write_text(text, "utf-8")


def _rest_waiting(town: Town, template: Run, number: int) -> None:
    """A run that waits for an answer, as it would stand in the books."""
    issue = replace(template.issue, key=f"waits-{number}")
    id_ = type(template.id)(f"{template.id[:-4]}{number:04d}")
    fresh = replace(
        template, id=id_, name=f"waits-{number}", issue=issue, state=RunState.QUEUED, hosted=False, trigger=""
    )
    run = town.runs.create(fresh)
    for state in (RunState.PREPARING, RunState.RUNNING, RunState.FINISHING, RunState.WAITING):
        run = replace(run, state=state)
        town.runs.save(run)
    town.runs.save(replace(run, hosted=True, waits_for="answer"))


def _took(town: Town, *words: str) -> float:
    """Processor seconds of a command, its children with it."""
    before = _children_s()
    town.perform(*words)
    return _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pids(town: Town) -> dict[str, int]:
    said = town.note()
    return dict(zip(ROLES, (said["pid"], said["gateway_pid"], said["worker_pid"]), strict=True))


def _rests(town: Town, id_: str) -> bool:
    run = next((run for run in town.runs.list(limit=1_000) if run.id == id_), None)
    return run is not None and run.state in {RunState.DONE, RunState.FAILED, RunState.WAITING}


def _open(town: Town) -> Sequence[Run]:
    return town.runs.list(limit=10_000, open_only=True)


def _states(town: Town) -> list[RunState]:
    return [run.state for run in _open(town)]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _pss(pid: int) -> int:
    """A process's share of the pages that it holds."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _two(seconds: Sequence[float]) -> tuple[str, str]:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{1e3 * statistics.median(ordered):.0f}", f"{1e3 * last:.0f}"


if __name__ == "__main__":
    main()
