"""Why an agent was started, by what its run had been before."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from crewcap.core.phases import phase_of

START = datetime.fromisoformat("2026-11-22T12:00:00+00:00")
STATES = [
    (START + timedelta(minutes=minute), state)
    for minute, state in enumerate(
        ["queued", "preparing", "running", "finishing", "running", "finishing", "waiting", "running"]
    )
]


@pytest.mark.parametrize(("minute", "phase"), [(2, "work"), (4, "fix"), (7, "resume"), (9, "resume"), (0, "work")])
def test_what_stood_before_running_tells_why(minute: int, phase: str) -> None:
    assert phase_of(START + timedelta(minutes=minute, seconds=1), STATES) == phase


def test_a_key_whose_run_told_nothing_is_work() -> None:
    assert phase_of(START, []) == "work"
