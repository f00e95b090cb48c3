"""Looking at a living run: what ends it, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from tests.contracts.sandboxes import within

from crewcap.workspaces import Limits
from crewcap.workspaces.sandbox.cgroups import Cage
from crewcap.workspaces.sandbox.watch import Watch, free_bytes, held_bytes

MIB = 1 << 20
LOOK_S = 0.002
UNLIMITED = Limits(memory_bytes=None, processes=None, disk_bytes=None, free_bytes=0)


def _says(values: Iterator[int]) -> Callable[[object], int]:
    return lambda _: next(values)


def _seen(watch: Watch, *, limit_s: float = 5) -> str:
    """The limit that it names; empty = none within the time."""

    async def look() -> str:
        try:
            return await asyncio.wait_for(watch.until_exceeded(), limit_s)
        except TimeoutError:
            return ""

    return within(look)


def _watch(limits: Limits, *folders: Path, cage: Cage | None = None, **other: object) -> Watch:
    return Watch(limits=limits, folders=folders, cage=lambda: cage, look_s=LOOK_S, **other)  # type: ignore[arg-type]  # few


def _cage(folder: Path, **files: str) -> Cage:
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return Cage(folders=(folder,), enforced=("processes",) if "pids_current" in files else ("memory",))


class TestDisk:
    """Measured by blocks, in all folders together."""

    def test_what_folders_hold_together_ends_a_run(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_bytes(b"x" * MIB)
        limits = Limits(disk_bytes=MIB * 3 // 2)
        assert _seen(_watch(limits, tmp_path / "one", tmp_path / "two")) == "disk"
        assert _seen(_watch(limits, tmp_path / "one"), limit_s=1.3) == ""

    def test_the_same_file_under_two_names_counts_once_and_a_hole_not_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * MIB)
        (tmp_path / "again").hardlink_to(tmp_path / "file")
        with (tmp_path / "sparse").open("wb") as sparse:
            sparse.truncate(1 << 40)
        assert MIB <= within(lambda: held_bytes([tmp_path])) < 2 * MIB

    def test_what_a_link_points_to_is_not_the_runs(self, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_bytes(b"x" * MIB)
        (tmp_path / "inside").mkdir()
        (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
        assert within(lambda: held_bytes([tmp_path / "inside"])) < MIB

    def test_a_disk_that_loses_what_a_run_may_have_is_measured_at_once(self, tmp_path: Path) -> None:
        """Long before the next measure is due."""
        (tmp_path / "file").write_bytes(b"x" * 2 * MIB)
        free = chain([100 * MIB] * 3, repeat(98 * MIB))
        assert _seen(_watch(Limits(disk_bytes=MIB), tmp_path, free=_says(free)), limit_s=0.9) == "disk"

    def test_a_folder_that_is_gone_holds_nothing(self, tmp_path: Path) -> None:
        assert within(lambda: held_bytes([tmp_path / "gone"])) == 0


class TestFreeSpace:
    """Whoever took it."""

    def test_a_run_ends_before_the_disk_is_full(self, tmp_path: Path) -> None:
        free = chain([100 * MIB], repeat(9 * MIB))
        limits = Limits(free_bytes=10 * MIB)
        assert _seen(_watch(limits, tmp_path, free=_says(free))) == "free disk space"

    def test_a_disk_that_was_nearly_full_at_the_start_may_lose_half_of_what_it_had(self, tmp_path: Path) -> None:
        """Starting was allowed; being ended at once would be a riddle."""
        limits = Limits(free_bytes=100 * MIB)
        assert _seen(_watch(limits, tmp_path, free=_says(repeat(20 * MIB))), limit_s=0.1) == ""
        fell = chain([20 * MIB] * 3, repeat(9 * MIB))
        assert _seen(_watch(limits, tmp_path, free=_says(fell))) == "free disk space"

    def test_it_is_asked_of_the_disk_where_the_folders_lie(self, tmp_path: Path) -> None:
        assert 0 < free_bytes([tmp_path]) < 1 << 60
        assert free_bytes([]) == free_bytes([tmp_path / "gone"]) > 1 << 60


class TestProcesses:
    """A bomb goes on; a build touches its limit and goes back."""

    def test_a_run_that_keeps_all_it_may_have_is_a_bomb(self, tmp_path: Path) -> None:
        cage = _cage(tmp_path, pids_current="40\n", pids_events="max 0\n")
        assert _seen(_watch(Limits(processes=40), cage=cage)) == "processes"

    def test_a_run_that_was_refused_once_is_none(self, tmp_path: Path) -> None:
        cage = _cage(tmp_path, pids_current="7\n", pids_events="max 900\n")
        assert _seen(_watch(Limits(processes=40), cage=cage), limit_s=0.2) == ""

    def test_without_a_control_group_they_are_counted(self) -> None:
        assert _seen(_watch(Limits(processes=40), tasks=lambda: 40, most_tasks=40)) == "processes"
        assert _seen(_watch(Limits(processes=40), tasks=lambda: 30, most_tasks=40), limit_s=0.2) == ""


class TestMemory:
    @pytest.mark.parametrize(("ended", "name"), [(0, ""), (3, ""), (20, "memory"), (400, "memory")])
    def test_a_run_in_which_the_kernel_had_to_end_many_is_ended(self, tmp_path: Path, ended: int, name: str) -> None:
        """One test that eats too much is the agent's affair."""
        cage = _cage(tmp_path, memory_events=f"oom_kill {ended}\n")
        assert _seen(_watch(UNLIMITED, cage=cage), limit_s=0.3) == name


def test_a_run_without_limits_is_never_ended(tmp_path: Path) -> None:
    assert _seen(_watch(UNLIMITED, tmp_path), limit_s=0.1) == ""
