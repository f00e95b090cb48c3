"""How long a run stood still, by its story."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crewcap.cli.live.rests import waited_seconds
from crewcap.core.money import Money
from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.stores import LoggedEvent

BEGAN = datetime(2026, 11, 22, 20, tzinfo=UTC)
NOW = BEGAN + timedelta(hours=9)
RUN = Run(
    id=RunId("01RUN"),
    name="fix-login.1",
    issue=Issue(tracker="files", key="fix-login", title="Login fails", body="..."),
    state=RunState.DONE,
    repo="shop",
    repo_path="/srv/shop",
    cap=Money.usd(3),
    created_at=BEGAN - timedelta(hours=1),
    started_at=BEGAN,
    ended_at=BEGAN + timedelta(minutes=100),
)


def story(*lines: tuple[int, str]) -> list[LoggedEvent]:
    """(minute, text) of states."""
    at = [(BEGAN + timedelta(minutes=minute), text) for minute, text in lines]
    return [LoggedEvent(seq=number, at=when, kind="state", text=text) for number, (when, text) in enumerate(at, 1)]


WORKED = (0, "preparing"), (1, "running"), (9, "finishing")


def test_a_run_that_went_through_waited_for_nothing() -> None:
    """What it waited for before it began is no part of what it took."""
    told = story((-60, "queued"), *WORKED, (100, "done the check is green"))
    assert waited_seconds(RUN, told, NOW) == 0


def test_from_its_pause_to_its_next_preparation_it_stood_still() -> None:
    """However long it was in the queue again after its answer; what is said at it meanwhile is no state."""
    again = (10, "waiting paused at the cap"), (40, "resumed by ana with a cap of $5.00"), (70, "preparing")
    told = story(*WORKED, *again, (71, "running"), (100, "done"))
    assert waited_seconds(RUN, told, NOW) == 3_600
    told[3] = replace(told[3], kind="note")
    assert waited_seconds(RUN, told, NOW) == 0


def test_several_pauses_add_up() -> None:
    told = story(*WORKED, (10, "waiting"), (20, "preparing"), (30, "done"), (90, "preparing"), (100, "done"))
    assert waited_seconds(RUN, told, NOW) == 70 * 60


@pytest.mark.parametrize("word", ["stopped: nobody answered in time", "stopped by ana", "stopped"])
def test_one_that_ended_while_it_waited_waited_to_its_end(word: str) -> None:
    assert waited_seconds(RUN, story(*WORKED, (10, "waiting"), (100, word)), NOW) == 90 * 60


def test_one_that_waits_has_ended_for_now() -> None:
    waits = replace(RUN, state=RunState.WAITING, ended_at=BEGAN + timedelta(minutes=10))
    assert waited_seconds(waits, story(*WORKED, (10, "waiting")), NOW) == 0


def test_one_in_the_queue_again_waits_until_now() -> None:
    queued = replace(RUN, state=RunState.QUEUED, ended_at=None)
    told = story(*WORKED, (10, "waiting"), (40, "resumed by ana with a cap of $5.00"))
    assert waited_seconds(queued, told, NOW) == (9 * 60 - 10) * 60


def test_one_that_never_began_waited_for_nothing() -> None:
    never = replace(RUN, state=RunState.STOPPED, started_at=None)
    assert waited_seconds(never, story((-60, "queued"), (10, "stopped by ana")), NOW) == 0
