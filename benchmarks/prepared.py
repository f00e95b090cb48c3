"""A prepared tree of 20,000 files on its way into a run: our sealed file, `cp -a`, an overlay of bubblewrap's.

    python -m benchmarks.prepared [FILES]

Each way is tried three times in a fresh folder and the median is printed; files have sizes as in a `node_modules`
(median 2 KB). "Walk" is the first `find` over the tree from inside. Nothing is removed before the end: a disk that is
mounted with `discard` makes whoever writes after a removal wait for it.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from crewcap.workspaces.project.prepared import PreparedTrees
from crewcap.workspaces.sandbox.bubblewrap import _binary

_TIMES = 3
_BASE = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib")
_LIBRARIES = ("--symlink", "usr/lib64", "/lib64", "--dir", "/tree")


def main() -> None:
    """Print one table."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder:
        _measure(Path(folder), files)


def _measure(root: Path, files: int) -> None:
    source, home = root / "source", root / "home"
    home.mkdir()
    size = _make(source / "node_modules", files)
    trees = PreparedTrees(root / "prepared", lambda: datetime.now(UTC))
    kept_s = _timed(lambda: trees.keep("bench/tree", workspace=source, home=home, before={}))
    ways: dict[str, Callable[[Path], object]] = {
        "sealed file, verified and copied": lambda to: trees.lend("bench/tree", workspace=to, home=home, uid=61_000),
        "cp -a": lambda to: subprocess.run(["cp", "-a", source / "node_modules", to], check=True),
        "cp -a --reflink=always": lambda to: subprocess.run(
            ["cp", "-a", "--reflink=always", source / "node_modules", to], check=True, stderr=subprocess.DEVNULL
        ),
    }
    print(f"{files:,} files, {size >> 20} MiB, {_file_system(root)}; kept in {kept_s:.2f} s\n")
    print("| way | ready | walk inside |\n|---|---|---|")
    for name, way in ways.items():
        print(_row(name, [_try(Path(tempfile.mkdtemp(dir=root)), way) for _ in range(_TIMES)]))
    print(_row("overlay", [_try_overlay(root, source, n) for n in range(_TIMES)]))


def _make(folder: Path, files: int) -> int:
    chance, total = random.Random(1), 0  # the same tree each time
    for number in range(files):
        place = folder / f"package-{number // 50}" / f"lib-{number // 10 % 5}"
        if number % 10 == 0:
            place.mkdir(parents=True)
        content = chance.randbytes(min(200_000, int(chance.lognormvariate(7.6, 1.6))))
        (place / f"{number}.js").write_bytes(content)
        total += len(content)
    return total


def _try(to: Path, way: Callable[[Path], object]) -> tuple[float, ...]:
    try:
        ready = _timed(lambda: way(to))
    except subprocess.CalledProcessError:
        return ()
    walked = _timed(lambda: _inside("--bind", str(to), "/tree"))
    return ready, walked


def _try_overlay(root: Path, source: Path, number: int) -> tuple[float, ...]:
    to = root / f"overlay-{number}"
    (to / "upper").mkdir(parents=True)
    (to / "work").mkdir()
    words = ("--overlay-src", str(source), "--overlay", str(to / "upper"), str(to / "work"), "/tree")
    ready = _timed(lambda: _inside(*words, walk=False)) - _timed(lambda: _inside(walk=False))
    walked = _timed(lambda: _inside(*words))
    return max(0.0, ready), walked


def _inside(*mounts: str, walk: bool = True) -> None:
    command = ["find", "/tree", "-type", "f", "-newer", "/usr"] if walk else ["true"]
    words = [_binary(), "--unshare-pid", *_BASE, *_LIBRARIES, *mounts, *command]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _row(name: str, tries: list[tuple[float, ...]]) -> str:
    if not all(tries):
        return f"| {name} | not here | |"
    return (
        f"| {name} | " + " | ".join(f"{statistics.median(column):.2f} s" for column in zip(*tries, strict=True)) + " |"
    )


def _file_system(folder: Path) -> str:
    asked = ["stat", "-f", "-c", "%T", os.fspath(folder)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
