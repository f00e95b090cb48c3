"""What a sandbox costs: `python -m benchmarks.sandbox [--starts 30] [--files 10000]`.

Starts: the time from asking to the first byte that the command says. The command is the same static shell for all: a
plain fork and exec is the floor, bare bubblewrap with the same namespaces is what no rung on it can go below; the rungs
stand beside, with their launcher, handshake, control group and clean-up. They take turns in one run; best and median,
because the machine is shared. Then the whole life of a command (start to end), the memory of a sandbox that waits, the
removal of a run's folder beside the standard library's, and what a look at a run's folders takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.workspaces import LADDER, SANDBOXES, Confined, Mount, Sandbox
from crewcap.workspaces.removal import remove_tree
from crewcap.workspaces.sandbox.bubblewrap import _binary
from crewcap.workspaces.sandbox.uids import lease
from crewcap.workspaces.sandbox.watch import held_bytes

COMMAND = ("/bin/sh", "-c", "echo x; read line")
BARE = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--die-with-parent", "--ro-bind", "/", "/")


@dataclass
class Arm:
    """One way to start a command, and what it took."""

    start: Callable[[], Awaitable[tuple[float, int]]]  # seconds to the first byte, and the bytes that wait meanwhile
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    kept_bytes: int = 0


async def measure(starts: int, arms: Mapping[str, Arm]) -> None:
    """Every arm in turn, so many times."""
    for _ in range(starts):
        for arm in arms.values():
            began = time.perf_counter()
            first, kept = await arm.start()
            arm.first_s.append(first)
            arm.whole_s.append(time.perf_counter() - began)
            arm.kept_bytes = max(arm.kept_bytes, kept)


def bare(*before: str) -> Arm:
    """Without any of ours."""

    async def start() -> tuple[float, int]:
        began = time.perf_counter()
        with subprocess.Popen((*before, *COMMAND), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  (the floor)
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            first = time.perf_counter() - began
            kept = family_bytes(process.pid)
            process.stdin.close()
        return first, kept

    return Arm(start)


def rung(sandbox: Sandbox, folder: Path, uid: int) -> Arm:
    """As a run starts its commands."""
    layout = sandbox.layout(workspace=folder, home=folder, objects=folder, binary=Path("/bin/sh"))
    mounts = (Mount(source=folder, target=layout.workspace, writable=True),)
    command = Confined(argv=COMMAND, environ={"HOME": layout.workspace}, cwd=layout.workspace, mounts=mounts)

    async def start() -> tuple[float, int]:
        began = time.perf_counter()
        child = await sandbox.start(command, uid=uid)
        await child.stdout.readline()
        first = time.perf_counter() - began
        kept = family_bytes(os.getpid())
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()
        return first, kept

    return Arm(start)


def family_bytes(root: int) -> int:
    """Memory that the descendants of a process have to themselves, and it too unless it is ours."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    members = {root}
    while grown := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= grown
    return sum(_private(pid) for pid in members - {os.getpid()})


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _private(pid: int) -> int:
    """Bytes that no other process shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def show(arms: Mapping[str, Arm]) -> None:
    """One line an arm."""
    floor = min(arms["fork and exec"].first_s)
    print(f"{'':24} {'first byte':>21} {'x fork':>7} {'start to end':>13} {'waiting':>9}")
    for name, arm in arms.items():
        best, median = min(arm.first_s), statistics.median(arm.first_s)
        print(
            f"{name:24} {best * 1e3:7.1f} ms best {median * 1e3:6.1f} {best / floor:6.1f}x"
            f" {statistics.median(arm.whole_s) * 1e3:10.1f} ms {arm.kept_bytes / (1 << 20):6.1f} MB"
        )


def removal(files: int) -> None:
    """A run's folder of so many small files goes; and what a look at it takes before."""
    with tempfile.TemporaryDirectory() as parent:
        took: dict[str, list[float]] = {"standard library": [], "ours": []}
        looks = []
        for name, remove in (("standard library", shutil.rmtree), ("ours", remove_tree)) * 3:
            tree = Path(parent) / "tree"
            _fill(tree, files)
            began = time.perf_counter()
            asyncio.run(held_bytes([tree]))
            looks.append(time.perf_counter() - began)
            began = time.perf_counter()
            remove(tree)
            took[name].append(time.perf_counter() - began)
    ours, theirs = min(took["ours"]), min(took["standard library"])
    print(f"\n{files:,} files: measured in {min(looks) * 1e3:.0f} ms; removed in {ours * 1e3:.0f} ms,", end=" ")
    print(f"by the standard library in {theirs * 1e3:.0f} ms ({ours / theirs:.2f}x)")


def _fill(tree: Path, files: int) -> None:
    for number in range(files):
        folder = tree / str(number // 1_000) / str(number // 50 % 20)
        if number % 50 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b"x" * 100)


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=30, help="of each kind")
    parser.add_argument("--files", type=int, default=10_000, help="in the folder that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as below:
        Path(below).chmod(0o711)
        held = lease(Path(below) / "uids")
        folder = Path(below) / "workspace"
        folder.mkdir()
        arms = {"fork and exec": bare()}
        for name in LADDER:
            sandbox = SANDBOXES[name]()
            if reason := sandbox.missing():
                print(f"{name} is not measured: {reason}")
                continue
            if name == "bubblewrap":
                arms["bare bubblewrap"] = bare(_binary(), *BARE)
            sandbox.prepare(uid=held.uid, owned=(folder,))
            arms[name] = rung(sandbox, folder, held.uid)
        asyncio.run(measure(options.starts, arms))
        held.release()
    show(arms)
    removal(options.files)


if __name__ == "__main__":
    main()
