"""What the machine lets us limit, and what we say of it."""

from __future__ import annotations

import os
import threading

from crewcap.workspaces import LIMIT_NAMES, Limits
from crewcap.workspaces.sandbox.cgroups import Cage
from crewcap.workspaces.sandbox.limits import can_measure, names_enforced, process_limits, tasks_in_namespace, tasks_of

NOTHING = Limits(memory_bytes=None, processes=None, file_bytes=None, disk_bytes=None)


def test_every_limit_has_a_name_that_people_read() -> None:
    assert set(LIMIT_NAMES) == set(Limits.__dataclass_fields__)


def test_only_what_holds_is_named() -> None:
    cage = Cage(folders=(), enforced=("memory", "cpus"))
    always = ("disk",) if can_measure() else ()
    limits = Limits(cpus=2)
    assert names_enforced(limits, cage, {"fsize": 1}) == (
        *("memory", "cpus", *always, "file size", "output", "free disk space"),
    )
    assert names_enforced(limits, None, {}) == (*always, "output", "free disk space")


def test_what_was_not_asked_for_is_not_called_enforced() -> None:
    assert "cpus" not in Limits().asked()
    assert names_enforced(NOTHING, Cage(folders=(), enforced=("memory",)), {}) == ("output", "free disk space")


def test_processes_that_the_kernel_counts_together_with_ours_are_limited_on_top_of_them() -> None:
    """The limit is of a user's processes; a desktop has hundreds before the run has its first."""
    limits = Limits(processes=100)
    assert process_limits(limits, counted="apart")["nproc"] == 100
    assert "nproc" not in process_limits(limits, counted="never")
    assert process_limits(limits, counted="together")["nproc"] > 100


def test_no_file_may_be_larger_than_all_together() -> None:
    assert process_limits(Limits(file_bytes=9, disk_bytes=5), counted="never")["fsize"] == 5
    assert process_limits(Limits(file_bytes=5, disk_bytes=None), counted="never")["fsize"] == 5
    assert "fsize" not in process_limits(NOTHING, counted="never")


def test_threads_count_as_the_kernel_counts_them() -> None:
    before, asleep = tasks_in_namespace(os.getpid()), threading.Event()
    thread = threading.Thread(target=asleep.wait, args=(30,))
    thread.start()
    try:
        assert tasks_of(os.geteuid()) >= 2
        assert before >= 1
    finally:
        asleep.set()
        thread.join()


def test_a_process_that_is_gone_has_no_tasks() -> None:
    assert tasks_in_namespace(0) == 0
