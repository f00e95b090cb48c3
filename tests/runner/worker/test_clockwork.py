"""Every due time becomes one run at the most and one at the least, whoever looks, as often as they look."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from threading import Barrier
from typing import cast

import pytest
from tests.runner.worker.houses import NOW, Clock, Queue, Street
from tests.stores.postgres_server import shared

from crewcap.app import App
from crewcap.core.runs import Run, RunState
from crewcap.errors import CrewcapError
from crewcap.runner.worker.clockwork import JOB, Clockwork, _lock_of
from crewcap.runner.worker.engine import Engine

EVERY_MINUTE = '[[schedules]]\nname = "tidy"\ncron = "* * * * *"\nrepo = "shop"\nprompt = "Tidy up."\n'
MINUTE = timedelta(minutes=1)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path, shared(), settings=EVERY_MINUTE + 'overlap = "allow"\n')
    yield street
    street.end()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path, None, settings=EVERY_MINUTE)
    yield street
    street.end()


def clockwork(house: App, queue: Queue) -> Clockwork:
    return Clockwork(house=house, engine=cast("Engine", queue))


def look(house: App, queue: Queue) -> None:
    asyncio.run(clockwork(house, queue).look())


def work_off(house: App, queue: Queue) -> None:
    """Do every job that was asked for."""
    while queue.jobs:
        _, key = queue.jobs.pop(0)
        asyncio.run(clockwork(house, queue).make(key))


def at_a_time(house: App, queue: Queue) -> int:
    """Look, and do what was asked for; how many jobs that was."""
    look(house, queue)
    asked = len(queue.jobs)
    work_off(house, queue)
    return asked


def all_at_once(houses: list[App], keys: list[str]) -> None:
    """Each job by a thread of its own, by all houses, none of them first."""
    start = Barrier(len(keys))

    def act(house: App, key: str) -> None:
        start.wait(timeout=30)
        asyncio.run(clockwork(house, Queue()).make(key))

    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(act, cycle(houses), keys))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def runs(house: App) -> list[Run]:
    return list(reversed(house.runs.list(limit=1_000)))


def test_three_workers_make_one_run_of_each_of_a_hundred_ticks(street: Street) -> None:
    """Their clocks differ by seconds, they look when they like, and many a job is done by two of them at once."""
    chance = random.Random(7)
    clocks = [Clock(NOW + timedelta(seconds=skew)) for skew in (1, 2.5, 4)]
    houses = [street.house(name, clock) for name, clock in zip("abc", clocks, strict=True)]
    queue, done = Queue(), set[str]()
    look(houses[0], queue)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            for clock in clocks:
                clock.pass_(minutes=1)
            for house in chance.sample(houses, chance.randint(1, 3)):
                look(house, queue)
            new = [key for _, key in queue.jobs if key not in done]
            done.update(new)
            for key in new:
                works = [clockwork(house, queue) for house in chance.sample(houses, 1 + (chance.random() < 0.3))]
                list(pool.map(lambda work, key=key: asyncio.run(work.make(key)), works))
    made = Counter(run.trigger for run in runs(houses[1]))
    wanted = {f"schedule:tidy@{(NOW + MINUTE * n).isoformat()}" for n in range(1, 101)}
    assert made == dict.fromkeys(wanted, 1)
    noted = houses[0].runs.ticks("tidy", limit=1_000)
    assert sum(bool(tick.run) for tick in noted) == len(made)


def test_a_tick_is_not_run_while_the_schedules_last_run_is_open(
    alone: Street, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    house, queue = alone.house("home", clock), Queue()
    look(house, queue)
    for _ in range(3):
        clock.pass_(minutes=1)
        look(house, queue)
        work_off(house, queue)
    (run,) = runs(house)
    assert [tick.note for tick in house.runs.ticks("tidy", limit=2)] == [f"left out: {run.name} is queued still"] * 2
    assert sum(f"left out: {run.name} is queued still" in line for line in warnings(caplog)) == 2
    house.runs.save(replace(run, state=RunState.STOPPED))
    clock.pass_(minutes=1)
    look(house, queue)
    work_off(house, queue)
    assert [it.name for it in runs(house)] == [run.name, runs(house)[1].name]
    assert runs(house)[1].scopes[0] != run.scopes[0]  # an issue of its own


@pytest.mark.parametrize("is_shared", [False, True], ids=["sqlite", "postgres"])
def test_of_ticks_that_are_settled_at_the_same_time_one_alone_is_run(tmp_path: Path, *, is_shared: bool) -> None:
    street = Street(tmp_path, shared() if is_shared else None, settings=EVERY_MINUTE)
    houses = [street.house("a"), street.house("b" if is_shared else "a")]  # two machines, or two workers of one
    keys = [f"tidy@{(NOW + MINUTE * n).isoformat()}" for n in range(6)]
    all_at_once(houses, keys)
    (run,) = runs(houses[0])
    noted = houses[1].runs.ticks("tidy", limit=100)
    assert sorted(tick.note for tick in noted) == ["", *[f"left out: {run.name} is queued still"] * 5]
    street.end()


@pytest.mark.parametrize("overlap", ["queue", "allow"])
@pytest.mark.parametrize(("catch_up", "run"), [("one", [3]), ("none", [3]), ("all", [1, 2, 3])])
def test_after_a_short_stop_the_policy_says_how_many_ticks_of_a_minutes_schedule_are_run(
    tmp_path: Path, catch_up: str, run: list[int], overlap: str
) -> None:
    """Three minutes are no three runs, but where all were asked for; those are made oldest first, in one round."""
    street = Street(tmp_path, None, settings=f'{EVERY_MINUTE}catch_up = "{catch_up}"\noverlap = "{overlap}"\n')
    clock = Clock()
    house, queue = street.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(minutes=3)
    assert [at_a_time(house, queue) for _ in range(2)] == [1, 0]
    assert [it.trigger for it in runs(house)] == [f"schedule:tidy@{(NOW + MINUTE * n).isoformat()}" for n in run]
    street.end()


def test_of_ticks_that_come_due_together_the_oldest_is_run_and_no_other_while_its_run_is_open(tmp_path: Path) -> None:
    """All are settled in one round, and each of them sees what the one before it has made."""
    street = Street(tmp_path, None, settings=f'{EVERY_MINUTE}catch_up = "all"\n')
    clock = Clock()
    house, queue = street.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(minutes=3)
    look(house, queue)
    look(house, queue)
    assert queue.jobs == [(JOB, f"tidy@{(NOW + MINUTE).isoformat()}")]
    work_off(house, queue)
    (run,) = runs(house)
    assert run.trigger == f"schedule:tidy@{(NOW + MINUTE).isoformat()}"
    left_out = f"left out: {run.name} is queued still"
    assert [tick.note for tick in house.runs.ticks("tidy", limit=3)] == [left_out, left_out, ""]
    assert at_a_time(house, queue) == 0
    street.end()


def test_a_look_gives_up_no_tick_that_is_just_being_settled(street: Street) -> None:
    clock = Clock()
    house, queue = street.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(minutes=1)
    with house.runs.alone(_lock_of(house.settings.schedules[0])):
        clock.pass_(minutes=6)
        look(house, queue)
    assert queue.jobs == []
    assert [tick.note for tick in house.runs.ticks("tidy", limit=9)] == ["first seen"]


def test_a_tick_that_was_noted_as_missed_while_its_job_waited_is_not_run(street: Street) -> None:
    """A worker that comes to it late does not run what another one gave up meanwhile."""
    clock = Clock()
    house, queue = street.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(minutes=1)
    look(house, queue)
    clock.pass_(minutes=6)
    look(house, queue)
    assert [key for _, key in queue.jobs] == [f"tidy@{(NOW + MINUTE * n).isoformat()}" for n in (1, 7)]
    work_off(house, queue)
    assert [run.trigger for run in runs(house)] == [f"schedule:tidy@{(NOW + MINUTE * 7).isoformat()}"]


def test_nothing_is_promised_before_a_schedule_is_first_seen(alone: Street) -> None:
    house, queue = alone.house("home"), Queue()
    look(house, queue)
    look(house, queue)
    assert queue.jobs == []


def test_of_the_ticks_of_a_night_without_a_worker_the_newest_is_run(
    alone: Street, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    house, queue = alone.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(hours=8, seconds=-1)  # 479 ticks, the last of them within the grace
    assert [at_a_time(house, queue) for _ in range(2)] == [1, 0]
    notes = Counter(tick.note.partition(":")[0] for tick in house.runs.ticks("tidy", limit=1_000) if not tick.run)
    assert notes["missed"] == 478
    assert sum(line.startswith("schedule tidy: 478 missed, the last at ") for line in warnings(caplog)) == 1
    assert len(runs(house)) == 1


def test_a_job_that_was_cut_off_after_its_run_was_made_finds_it(alone: Street) -> None:
    clock = Clock()
    house, queue = alone.house("home", clock), Queue()
    look(house, queue)
    clock.pass_(minutes=1)
    look(house, queue)
    assert queue.jobs == [(JOB, f"tidy@{clock.at.isoformat()}")]
    work = clockwork(house, queue)
    made = work._made(house.settings.schedules[0], clock.at)  # and here its process is killed
    work_off(house, queue)
    assert [run.id for run in runs(house)] == [made.run]
    assert house.runs.ticks("tidy")[0].run == made.run


def test_a_worker_that_knows_no_such_schedule_leaves_the_tick_to_others(alone: Street) -> None:
    house = alone.house("home")
    with pytest.raises(CrewcapError, match="no schedule other here"):
        asyncio.run(clockwork(house, Queue()).make(f"other@{NOW.isoformat()}"))
    assert house.runs.ticks("other") == []


def test_a_schedule_that_cannot_be_planned_says_so_and_the_next_tick_is_tried(alone: Street) -> None:
    clock = Clock()
    house, queue = alone.house("home", clock), Queue()
    look(house, queue)
    hidden = alone.user.rename(alone.user.with_name("away"))
    clock.pass_(minutes=1)
    look(house, queue)
    work_off(house, queue)
    assert house.runs.ticks("tidy")[0].note.startswith("failed: ")
    hidden.rename(alone.user)
    clock.pass_(minutes=1)
    look(house, queue)
    work_off(house, queue)
    assert len(runs(house)) == 1


def test_what_comes_next_is_told_soonest_first(tmp_path: Path) -> None:
    more = EVERY_MINUTE + '[[schedules]]\nname = "nightly"\ncron = "0 2 * * *"\nrepo = "shop"\nprompt = "Sweep."\n'
    street = Street(tmp_path, None, settings=more)
    house = street.house("home")
    told = clockwork(house, Queue()).upcoming()
    assert [(name, at - NOW) for at, name in told] == [("tidy", MINUTE), ("nightly", timedelta(hours=14))]
    street.end()
