"""Who is let in, who is begun again, and whose runs are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from tests.runner.worker.houses import NOW, Clock, Queue, Street, queued
from tests.stores.postgres_server import shared

from crewcap.app import App
from crewcap.core.admission import Queued
from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.runs import Run, RunState
from crewcap.runner.worker.dispatch import Dispatcher
from crewcap.runner.worker.engine import VERSION, Engine
from crewcap.runner.worker.fencing import LEFT, Times
from crewcap.stores.run_rows import Overtaken

SETTINGS = "[slots]\nall = 3\nrepo = 2\n"
TIMES = Times(settle_s=0.01, dead_after_s=30.0)
HERE, THERE = "host.here.1", "host.there.1"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Street]:
    """Books in a file."""
    street = Street(tmp_path, None, settings=SETTINGS)
    yield street
    street.end()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Books in a database."""
    street = Street(tmp_path, shared(), settings=SETTINGS)
    yield street
    street.end()


def dispatcher(house: App, queue: Queue, **options: Any) -> Dispatcher:
    shared_books = bool(house.settings.store_url)
    return Dispatcher(house=house, engine=_engine(queue), is_shared=shared_books, times=TIMES, **options)


def _engine(queue: Queue) -> Engine:
    return cast("Engine", queue)


def look(house: App, queue: Queue, **options: Any) -> int:
    return asyncio.run(dispatcher(house, queue, **options).look())


def mend(house: App, queue: Queue, **options: Any) -> int:
    return asyncio.run(dispatcher(house, queue, **options).mend())


def at_work(house: App, queue: Queue, number: int, *, worker: str = HERE) -> Run:
    """A run that was let in, and that a worker has begun."""
    run = queued(house, number)
    assert look(house, queue) == 1
    begun = replace(run, state=RunState.PREPARING, worker=worker)
    house.runs.save(begun)
    house.runs.save(replace(begun, state=RunState.RUNNING))
    queue.taken_by(run, worker)
    return now(house, run)


def now(house: App, run: Run) -> Run:
    found = house.runs.get(run.id)
    assert found is not None
    return found


def silent(street: Street, worker: str) -> None:
    """Let it have been silent for longer than anybody may."""
    sql = "UPDATE crewcap.worker SET seen_at = seen_at - 31000000 WHERE name = $1"
    shared().sql(street.url, sql, worker)


# letting in


def test_as_many_are_let_in_as_there_are_places_and_the_others_are_told_why(alone: Street) -> None:
    house, queue = alone.house("home"), Queue()
    runs = [queued(house, number) for number in range(4)]
    assert look(house, queue) == 2
    assert set(queue.attempts) == {(runs[0].id, 1), (runs[1].id, 1)}
    assert [(now(house, run).queued_for, now(house, run).position) for run in runs[2:]] == [
        ("repo shop has 2 of 2 slots", 1),
        ("repo shop has 2 of 2 slots", 2),
    ]
    assert look(house, queue) == 0


def test_two_workers_that_look_at_once_let_in_no_run_too_many(street: Street) -> None:
    houses, queue = [street.house("a"), street.house("b"), street.house("c")], Queue()
    runs = [queued(houses[0], number, scopes=(f"repo:r{number}", "all")) for number in range(6)]

    async def all_look() -> int:
        return sum(await asyncio.gather(*[dispatcher(house, queue).look() for house in houses]))

    asyncio.run(all_look())
    assert houses[0].runs.taken()[ALL] == 3
    assert set(queue.attempts) == {(run.id, 1) for run in runs[:3]}


def test_a_run_that_waits_for_its_hours_says_when_they_begin(alone: Street) -> None:
    house, queue = alone.house("home"), Queue()
    run = queued(house, 1, hours="20:00-07:00")
    assert look(house, queue) == 0
    assert now(house, run).opens_at == NOW + timedelta(hours=8)


def test_what_a_run_waits_for_is_news_when_it_changes_and_not_when_its_figures_do(alone: Street) -> None:
    house, work = alone.house("home"), dispatcher(alone.house("home"), Queue())
    run = queued(house, 1)
    for reason, place in (
        ("all is $1.00 short: $3.00 of $5.00 left, this one about $4.00", 2),
        ("all is $1.37 short: $2.63 of $5.00 left, this one about $4.00", 2),
        ("all is $1.50 short: $2.50 of $5.00 left, this one about $4.00", 1),
        ("repo shop has 2 of 2 slots", 1),
    ):
        work._tell(now(house, run), Queued(reason=reason, scope="all"), place)
        seen = now(house, run)
        assert (seen.queued_for.startswith("all is $1.37"), seen.position) == (False, place)
    told = [event.text for event in house.runs.story(run.id) if event.kind == "note"]
    assert [text.split()[1] for text in told] == ["all", "repo"]
    assert seen.queued_for == "repo shop has 2 of 2 slots"


# mending


def test_a_run_that_has_its_places_and_no_attempt_is_begun_again(alone: Street) -> None:
    """The process died between the two, or the engine's file was lost."""
    house, queue = alone.house("home"), Queue()
    run = queued(house, 1)
    look(house, queue)
    queue.attempts.clear()
    assert mend(house, queue) == 1
    assert set(queue.attempts) == {(run.id, 2)}
    assert now(house, run).attempt == 2


def test_what_the_attempt_before_still_does_counts_for_nothing(alone: Street) -> None:
    """Its saves are refused, and its keys are dead."""
    house, queue = alone.house("home"), Queue()
    before = at_work(house, queue, 1, worker="local")
    key = VirtualKey(id=KeyId("k"), hash="h", scopes=(Scope("key:k"), ALL), created_at=NOW, run=before.id)
    house.ledger.add_key(key, cap=None)
    queue.attempts.clear()
    assert mend(house, queue) == 1
    with pytest.raises(Overtaken):
        house.runs.save(replace(before, turns=3))
    (found,) = house.ledger.keys()
    assert found.revoked_at is not None
    assert now(house, before).turns == 0


def test_an_attempt_that_is_on_its_way_into_the_queue_is_waited_for(street: Street) -> None:
    """Another worker has taken the places and is about to ask the engine."""
    house, queue = street.house("home"), Queue()
    house.runs.beat(HERE, version=VERSION)
    run = queued(house, 1)
    assert house.runs.admit(run.id, slots={}) is None
    times = replace(TIMES, settle_s=0.2)

    async def scene() -> int:
        mending = asyncio.create_task(
            Dispatcher(house=house, engine=_engine(queue), is_shared=True, times=times).mend()
        )
        await asyncio.sleep(0.1)
        await queue.enqueue(run.id, 1)
        return await mending

    assert asyncio.run(scene()) == 0
    assert now(house, run).attempt == 1


def test_runs_of_a_command_are_left_to_it(alone: Street) -> None:
    house = alone.house("home")
    run = queued(house, 1, hosted=False)
    house.runs.save(replace(run, state=RunState.PREPARING))
    assert mend(house, Queue()) == 0


@pytest.mark.parametrize("version", [VERSION, "wf-0"])
def test_a_living_workers_runs_are_left_to_it_whatever_its_version(street: Street, version: str) -> None:
    house, queue = street.house("home"), Queue(version=version)
    house.runs.beat(THERE, version=version)
    house.runs.beat(HERE, version=VERSION)
    run = at_work(house, queue, 1, worker=THERE)
    waits = queued(house, 2)
    look(house, queue)
    assert mend(house, queue) == 0
    silent(street, THERE)
    queue.version = VERSION
    assert mend(house, queue) == (1 if version == VERSION else 2)
    assert now(house, run).attempt == 2
    assert {it.version for it in queue.attempts.values()} == {VERSION}
    assert (waits.id, 1 if version == VERSION else 2) in queue.attempts
    assert [it.name for it in house.runs.workers()] == [HERE]


def test_books_in_a_file_have_one_worker_and_leftovers_of_another_version_are_its_own(alone: Street) -> None:
    house, queue = alone.house("home"), Queue(version="wf-0")
    run = at_work(house, queue, 1, worker="local")
    queue.version = VERSION
    assert mend(house, queue) == 1
    assert {(it.attempt, it.version) for it in queue.attempts.values()} == {(2, VERSION)}
    assert now(house, run).attempt == 2
    assert mend(house, queue) == 0


def test_a_run_goes_on_where_its_workspace_is_as_long_as_somebody_works_there(street: Street) -> None:
    house, queue = street.house("home"), Queue()
    house.runs.beat(HERE, version=VERSION)
    house.runs.beat(THERE, version=VERSION)
    run = at_work(house, queue, 1, worker=THERE)
    house.runs.forget_worker(THERE)
    house.runs.beat("host.there.2", version=VERSION)  # the same house, a worker later
    assert mend(house, queue) == 1
    assert queue.attempts[run.id, 2].place == "host.there"
    silent(street, "host.there.2")
    assert mend(house, queue) == 1
    assert queue.attempts[run.id, 3].place == ""


def test_what_a_worker_left_in_order_is_kept_for_the_next_one_there_for_a_while(street: Street) -> None:
    house, queue = street.house("home"), Queue()
    house.runs.beat(HERE, version=VERSION)
    house.runs.beat(THERE, version=VERSION)
    run = at_work(house, queue, 1, worker=THERE)
    house.runs.beat(THERE, version=LEFT)
    assert mend(house, queue) == 0
    silent(street, THERE)
    assert mend(house, queue) == 1
    assert queue.attempts[run.id, 2].place == ""


def test_a_run_that_somebody_answers_meanwhile_is_not_begun_again(alone: Street) -> None:
    """It changed between the look and the deed."""
    house, queue = alone.house("home", Clock()), Queue()
    run = at_work(house, queue, 1, worker="local")
    queue.attempts.clear()
    found = now(house, run)
    house.runs.save(replace(found, turns=1))
    assert asyncio.run(dispatcher(house, queue)._begin_again(found)) == 0
    assert now(house, run).attempt == 1
