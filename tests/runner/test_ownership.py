"""A driver is known by its pid and its start time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.errors import UsageError
from crewcap.runner.ownership import driving, is_driven, myself, start_time

RUN = Run(
    id=RunId("01"),
    name="a.1",
    issue=Issue(tracker="files", key="a", title="A", body=""),
    state=RunState.RUNNING,
    repo="shop",
    repo_path="/shop",
    created_at=datetime(2026, 11, 22, tzinfo=UTC),
)


def test_this_process_drives_what_it_says_it_drives() -> None:
    pid, started = myself()
    assert is_driven(replace(RUN, owner_pid=pid, owner_started=started))


def test_a_pid_that_was_used_again_drives_nothing() -> None:
    pid, started = myself()
    assert not is_driven(replace(RUN, owner_pid=pid, owner_started=str(int(started) - 1)))


def test_a_dead_process_drives_nothing_even_before_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = replace(RUN, owner_pid=child.pid, owner_started=start_time(child.pid))
    assert is_driven(run)
    child.kill()
    child.wait()
    assert not is_driven(run)


def test_one_process_at_a_time_drives_a_run(tmp_path: Path) -> None:
    """Two starts that come at once, after a kill or before the first has said who it is, do not share an agent."""
    with (
        driving(RUN, tmp_path),
        pytest.raises(UsageError, match=r"a\.1 is driven by another process already"),
        driving(RUN, tmp_path),
    ):
        raise AssertionError
    with driving(RUN, tmp_path):
        pass
