"""What a run's workspace costs beside git's own ways to a second working tree.

    python -m benchmarks.workspace [--quick] [--files N] [--results DIR]

One repository with many files, and in each round, one after another and in turns: `git worktree add`, `git clone
--shared`, a full clone over git's own protocol, a workspace of ours, and one of a single folder. Ours is timed to the
moment in which an agent could start: laid out, and given to the run's user where crewcap runs as root. Then each is
removed: git's worktree by git, clones by `rm -rf`, ours by the rename after which a run is over, with the deletion
behind it as a row of its own. Disk is what the files of a tree take, with and without the checked-out files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import FOLDER, Report, Table

from crewcap import __version__
from crewcap.workspaces.removal import remove_aside, set_aside
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.repository.supplies import Extent, Supply
from crewcap.workspaces.sandbox.uids import FIRST, give, is_root

FILES, ROUNDS = 20_000, 5
BASIS = "git worktree add"
ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "bench@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to a working tree, and how it is removed; `after` = what is left to do when it is out of sight."""

    name: str
    make: Callable[[Path], None]
    remove: Callable[[Path], None]
    after: Callable[[Path], None] | None = None


@dataclass(slots=True)
class Measured:
    """Seconds of one way."""

    made: list[float] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    tree_bytes: int = 0
    git_bytes: int = 0


def git(*words: str, cwd: Path) -> None:
    """Git as a person would run it."""
    subprocess.run(["git", *words], cwd=cwd, env=ENVIRON, check=True, capture_output=True)


def make_repository(folder: Path, files: int) -> None:
    """Packages of modules of text, 400 files a package, packed as a repository is that was cloned."""
    folder.mkdir()
    chance = random.Random(4)
    words = [f"word{number}" for number in range(500)]
    for number in range(files):
        path = folder / f"pkg{number // 400}" / f"mod{(number // 20) % 20}" / f"f{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(" ".join(chance.choices(words, k=8)) for _ in range(chance.randint(20, 180))))
    git("init", "--quiet", "-b", "main", cwd=folder)
    git("config", "gc.auto", "0", cwd=folder)
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "-m", "many files", cwd=folder)
    git("repack", "-adq", cwd=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A run's side: everything that stands once a repository is known."""

    mirrors: Mirrors
    repository: Repository
    base: Base

    def supply(self, extent: Extent) -> Supply:
        """What a run finds out anew each time."""
        return self.mirrors.supply(self.repository, base=self.base, extent=extent)

    def make(self, folder: Path, extent: Extent) -> None:
        """A workspace, ready for an agent."""
        self.mirrors.make_workspace(
            self.repository,
            base=self.base,
            branch="crewcap/bench-1",
            folder=folder,
            objects_inside="/base/objects",
            supply=self.supply(extent),
        )
        if is_root():
            give(folder, FIRST)


def ways(user: Path, ours: Ours) -> Sequence[Way]:
    """Ours beside git's."""
    part = Extent(paths=("pkg0",))
    return (
        Way(
            name=BASIS,
            make=lambda folder: git("worktree", "add", "--quiet", "-b", folder.name, str(folder), cwd=user),
            remove=lambda folder: git("worktree", "remove", "--force", str(folder), cwd=user),
            after=lambda folder: git("branch", "--quiet", "-D", folder.name, cwd=user),
        ),
        Way(
            name="git clone --shared",
            make=lambda folder: git("clone", "--quiet", "--shared", str(user), str(folder), cwd=user),
            remove=shutil.rmtree,
        ),
        Way(
            name="git clone (full)",
            make=lambda folder: git("clone", "--quiet", f"file://{user}", str(folder), cwd=user),
            remove=shutil.rmtree,
        ),
        Way(
            name="crewcap",
            make=lambda folder: ours.make(folder, Extent()),
            remove=set_aside,
            after=lambda folder: remove_aside(folder.parent),
        ),
        Way(
            name='crewcap, paths = ["pkg0"]',
            make=lambda folder: ours.make(folder, part),
            remove=set_aside,
            after=lambda folder: remove_aside(folder.parent),
        ),
    )


def measure(all_ways: Sequence[Way], folder: Path, rounds: int) -> Mapping[str, Measured]:
    """Turn and turn about, because the machine is shared; the first one of a round is another each time."""
    found = {way.name: Measured() for way in all_ways}
    for number in range(rounds):
        start = number % len(all_ways)
        for way in (*all_ways[start:], *all_ways[:start]):
            _once(way, folder / f"tree-{number}", found[way.name])
    return found


def _once(way: Way, tree: Path, found: Measured) -> None:
    found.made.append(_timed(way.make, tree))
    found.git_bytes = _disk(tree / ".git")
    found.tree_bytes = _disk(tree) - found.git_bytes
    found.removed.append(_timed(way.remove, tree))
    found.after.append(_timed(way.after, tree) if way.after else 0)


def _timed(act: Callable[[Path], object], tree: Path) -> float:
    began = time.perf_counter()
    act(tree)
    return time.perf_counter() - began


def _disk(folder: Path) -> int:
    """Bytes on the disk, as `du` counts them."""
    if folder.is_file():
        return folder.stat().st_blocks * 512
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


def tell(report: Report, found: Mapping[str, Measured], files: int) -> None:
    """Ready, gone, disk."""
    basis = found[BASIS]
    report.add(
        Table(
            title=f"A workspace of {files:,} files, ready for an agent",
            note=f"Medians of {len(basis.made)} rounds in turns, the best beside them; ratios are of the medians.",
            head=("", "ready", "best", "of worktree add", "out of sight", "deleted after", "tree", "git's own"),
            rows=[_row(name, each, basis) for name, each in found.items()],
        )
    )


def _row(name: str, each: Measured, basis: Measured) -> Sequence[str]:
    ratio = statistics.median(each.made) / statistics.median(basis.made)
    return (
        name,
        f"{statistics.median(each.made):.2f} s",
        f"{min(each.made):.2f} s",
        f"{ratio:.2f}x",
        f"{statistics.median(each.removed) * 1_000:,.1f} ms",
        f"{statistics.median(each.after) * 1_000:,.0f} ms",
        f"{each.tree_bytes / 1e6:.0f} MB",
        f"{each.git_bytes / 1e6:.1f} MB",
    )


def main() -> None:
    """One table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files, two rounds")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    files, rounds = (options.files // 10, 2) if options.quick else (options.files, ROUNDS)
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    report = Report(name="workspace", versions={"crewcap": __version__, "git": version})
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as name:
        folder = Path(name)
        make_repository(folder / "user", files)
        mirrors = Mirrors(folder / "mirrors", environ=os.environ)
        repository = mirrors.repository(folder / "user")
        began = time.perf_counter()
        base = mirrors.update(repository)
        first = time.perf_counter() - began
        report.notes.append(f"The mirror is made once for a repository: {first:.1f} s here, not in the figures.")
        ours = Ours(mirrors=mirrors, repository=repository, base=base)
        (folder / "trees").mkdir()
        tell(report, measure(ways(folder / "user", ours), folder / "trees", rounds), files)
    report.write(options.results)


if __name__ == "__main__":
    main()
