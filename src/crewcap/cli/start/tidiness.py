"""What `doctor` says of the house: how large it is, what is past its time, and who was left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping

from crewcap.cli.context import Call
from crewcap.cli.start.fitness import Finding
from crewcap.home import Home
from crewcap.runner.room import room, shown
from crewcap.runner.worker.housekeeping import kept_so_far, past_retention
from crewcap.runner.worker.orphans import find_orphans
from crewcap.runner.worker.rehearsals import WHY, left_rehearsals
from crewcap.runner.worker.stale_doors import stale_doors
from crewcap.runner.worker.trash import in_trash

_PARTS = ("runs", "mirrors", "prepared", "batches", "logs", "trash", "ledger.db", "usage.db")
_MEASURE_S = 20.0
_MOST_RUNS = 10_000
_FEW = 3
_SWEEPS = "`crewcap serve` removes them by itself, once an hour; now: crewcap workspace sweep"


def look_at_house(call: Call) -> Iterator[Finding]:
    """Size by part, the disk floor, workspaces past their time, what stayed and why, trash, doors, orphans."""
    yield from _sizes(call.home)
    if reason := room(call.home, floor_bytes=call.app.settings.defaults.disk_floor_bytes):
        yield Finding(name="room", level="fail", text=reason, help="free some, or lower [defaults] disk_floor")
    yield from _workspaces(call)
    yield from _left_behind(call)


def _sizes(home: Home) -> Iterator[Finding]:
    sizes = _measured(home)
    if not sizes:
        return
    largest = sorted(sizes.items(), key=lambda part: -part[1])
    parts = ", ".join(f"{name} {shown(size)}" for name, size in largest if size >> 20)
    text = f"{shown(sum(sizes.values()))} in {home.root}{f': {parts}' if parts else ''}"
    yield Finding(name="size", level="ok", text=text, facts=sizes)


def _measured(home: Home) -> Mapping[str, int]:
    """Bytes of each part that is there, as far as that can be told in time."""
    there = [name for name in _PARTS if (home.root / name).exists()]
    if not there:
        return {}
    try:
        done = subprocess.run(  # noqa: S603  (our words)
            ["du", "-skx", "--", *there],  # noqa: S607  (the system's own)
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MEASURE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = (line.split("\t", 1) for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {name: int(size) << 10 for size, name in rows if size.isdigit()}


def _workspaces(call: Call) -> Iterator[Finding]:
    """Those that are past their time, and those that had to stay, each with its reason."""
    if call.app.is_new:
        return
    kept = kept_so_far(call.home)
    runs, retention_s = call.app.runs.list(limit=_MOST_RUNS), call.app.settings.defaults.retention_s
    late = [run.name for run in past_retention(call.home, runs, call.clock(), retention_s=retention_s)]
    if waiting := [name for name in late if name not in kept]:
        text = f"kept longer than `retention` says: {_some(waiting)}"
        yield Finding(name="workspaces", level="warn", text=text, help=_SWEEPS, facts={"runs": waiting})
    for name, why in kept.items():
        yield Finding(name="workspaces", level="warn", text=f"{name} stays: {why}", help=_look_at(call, name))


def _look_at(call: Call, name: str) -> str:
    run = next(iter(call.app.runs.find(name)), None)
    folder = call.home.run(run.id if run is not None else name)
    return f"look at {folder}, take what you need, then remove it"


def _left_behind(call: Call) -> Iterator[Finding]:
    home = call.home
    if trash := in_trash(home.root):
        text = f"waiting to be deleted: {_some([str(tree) for tree in trash])}"
        yield Finding(name="trash", level="warn", text=text, help=_SWEEPS)
    if rehearsals := left_rehearsals(home):
        text = f"{WHY}: {_some([str(folder) for folder in rehearsals])}"
        yield Finding(name="rehearsals", level="warn", text=text, help=_SWEEPS)
    if doors := stale_doors(call.clock()):
        text = f"doors with nobody behind them: {_some([str(door) for door in doors])}"
        yield Finding(name="doors", level="warn", text=text, help=_SWEEPS)
    if orphans := find_orphans(home):
        pids = [str(orphan.pid) for orphan in orphans]
        text = f"processes of runs that outlived whoever started them: {_some(pids)}"
        help_ = f"start the run again, or kill -9 {' '.join(pids[:_FEW])}"
        yield Finding(name="orphans", level="warn", text=text, help=help_, facts={"pids": pids})


def _some(names: list[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
