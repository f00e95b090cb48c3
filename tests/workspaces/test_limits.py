"""What the machine lets us limit, and what we say of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from crewcap.workspaces import Limits
from crewcap.workspaces.limits import Cage, make_cage, names_enforced, process_limits


def test_only_what_holds_is_named() -> None:
    cage = Cage(folders=(), enforced=("memory_bytes",))
    assert names_enforced(cage, {"fsize": 1}) == ("memory_bytes", "file_bytes", "output_bytes")
    assert names_enforced(None, {}) == ("output_bytes",)


def test_processes_that_the_kernel_counts_together_with_ours_are_limited_on_top_of_them() -> None:
    """The limit is of a user's processes; a desktop has hundreds before the run has its first."""
    limits = Limits(processes=100, file_bytes=None)
    assert process_limits(limits, counted="apart") == {"nproc": 100}
    assert process_limits(limits, counted="never") == {}
    assert process_limits(limits, counted="together")["nproc"] > 100


def test_what_is_not_limited_is_left_alone() -> None:
    nothing = Limits(memory_bytes=None, processes=None, file_bytes=None)
    assert process_limits(nothing, counted="apart") == {}
    assert make_cage(nothing) is None


@pytest.fixture
def cage() -> Cage:
    """A control group of ours."""
    made = make_cage(Limits(memory_bytes=64 << 20, processes=10))
    if made is None:
        pytest.skip("no control group can be made here")
    return made


def test_a_cage_takes_a_process_in_and_ends_it(cage: Cage) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert cage.add(process.pid)
        cage.kill()
        assert process.wait(10) == -9
    assert not cage.ran_out_of_memory()
    cage.remove()
    assert not any(folder.exists() for folder in cage.folders)


def test_a_cage_of_a_crewcap_that_was_killed_is_swept_by_the_next(cage: Cage) -> None:
    """Its name says whose it was."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
        gone = process.pid
    leftovers = [folder.with_name(f"crewcap-{gone}-dead") for folder in cage.folders]
    ours = [folder.with_name(f"crewcap-{os.getpid()}-live") for folder in cage.folders]
    for folder in (*leftovers, *ours):
        folder.mkdir()
    again = make_cage(Limits())
    assert not any(folder.exists() for folder in leftovers)
    assert all(folder.exists() for folder in ours)
    for folder in ours:
        folder.rmdir()
    cage.remove()
    assert again is not None
    again.remove()


def test_a_process_that_cannot_be_taken_in_is_said(tmp_path: Path) -> None:
    assert not Cage(folders=(tmp_path / "nowhere",), enforced=()).add(1)
