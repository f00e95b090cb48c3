"""Runs that wait and need no answer: what they are given anew when they go on by themselves, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contracts.run_books import ASKED, moved
from tests.runner.worker.houses import Street, queued

from crewcap.app import App
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.runner import resuming
from crewcap.runner.worker.waking import wake


@pytest.fixture
def house(tmp_path: Path) -> Iterator[App]:
    street = Street(tmp_path, None)
    yield street.house("home")
    street.end()


def waiting(house: App) -> Run:
    """A run that waits for its provider, in the middle of mending a red check."""
    run = replace(
        queued(house, 1),
        waits_for="provider",
        verdict=Verdict.PROVIDER_ERROR,
        fixes=2,
        turns=9,
        agent_seconds=100.0,
        commits=1,
        branch="crewcap/issue-1-1",
    )
    return moved(house.runs, run, RunState.WAITING)


def test_a_run_that_goes_on_by_itself_has_the_attempts_turns_and_time_that_were_left(house: App) -> None:
    """However often its provider fails, a red check goes back no more often than the settings say."""
    again = wake(house, waiting(house), frozen=())
    assert again is not None
    assert (again.state, again.attempt) == (RunState.QUEUED, 2)
    assert (again.fixes, again.turns_before, again.seconds_before) == (2, 0, 0.0)


def test_a_persons_word_gives_them_anew(house: App) -> None:
    again = resuming.resume(house.runs, waiting(house), by="ana", hosted=True)
    assert (again.fixes, again.turns_before, again.seconds_before) == (0, 9, 100.0)


def test_it_waits_for_as_long_as_its_providers_key_is_out_of_order(house: App) -> None:
    run = waiting(house)
    assert wake(house, run, frozen=["out of order"]) is None
    assert house.runs.get(run.id) == run


def test_one_that_nobody_answers_ends_in_time_and_its_branch_stays(house: App) -> None:
    run = waiting(house)
    asking = replace(run, question=replace(ASKED, expires_at=house.clock() - timedelta(seconds=1)))
    house.runs.save(asking)
    ended = wake(house, asking, frozen=())
    assert ended is not None
    assert (ended.state, ended.reason) == (
        RunState.STOPPED,
        "nobody answered in time; its branch crewcap/issue-1-1 is kept",
    )
