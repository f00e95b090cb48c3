"""What workers agree on: what started a run, which ticks were dealt with, who lives, who may do something alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contracts.run_books import OfRunBooks, RunBooks, all_at_once, asking, queued
from tests.contracts.runs import NOW, a_run

from crewcap.core.runs import Run, RunState
from crewcap.errors import UsageError
from crewcap.stores import RunStore, Tick
from crewcap.stores.run_rows import AlreadyOpen, AlreadyTriggered

TRIGGER = "schedule:nightly@2026-11-22T02:00Z"
ROOT = Path(__file__).parents[2]


class WorkersContract(OfRunBooks):
    """The suite."""

    def test_what_started_a_run_starts_no_second_one_even_when_that_is_over(self, runs: RunStore) -> None:
        first = runs.create(replace(a_run(1), trigger=TRIGGER))
        over = replace(first, state=RunState.STOPPED)
        runs.save(over)
        with pytest.raises(AlreadyTriggered, match=r"nightly@.* has started fix-login\.1 already") as caught:
            runs.create(replace(a_run(2, "another"), trigger=TRIGGER))
        assert caught.value.run == over
        assert runs.create(replace(a_run(2), trigger=TRIGGER.replace("02", "03"))).name == "fix-login.2"

    def test_of_many_workers_that_see_a_tick_one_starts_its_run(self, books: RunBooks) -> None:
        for hour in range(8):

            def start(store: RunStore, number: int, hour: int = hour) -> str:
                wanted = replace(a_run(hour * 10 + number, f"{hour}-{number}"), trigger=f"schedule:hourly@{hour}")
                try:
                    return store.create(wanted).id
                except AlreadyTriggered as error:
                    return error.run.id

            assert len(all_at_once(books, start)) == 1
        assert len(books.open().list()) == 8

    def test_of_many_who_start_an_issue_one_does(self, books: RunBooks) -> None:
        for number in range(8):

            def start(store: RunStore, who: int, number: int = number) -> str:
                try:
                    return store.create(a_run(number * 10 + who, f"issue-{number}")).id
                except UsageError:  # open here, or on another machine
                    return ""

            assert len(all_at_once(books, start) - {""}) == 1

    def test_runs_that_nothing_triggered_are_as_many_as_people_want(self, runs: RunStore) -> None:
        assert [queued(runs, n).name for n in (1, 2)] == ["issue-1.1", "issue-2.1"]

    @pytest.mark.parametrize("over", [RunState.STOPPED, RunState.FAILED])
    def test_a_run_that_is_over_goes_on_only_where_its_issue_has_no_other(self, runs: RunStore, over: RunState) -> None:
        """The same issue was started anew meanwhile: two at work on it would get into each other's way."""
        first = replace(runs.create(a_run(1)), state=over)
        runs.save(first)
        second = runs.create(a_run(2))
        with pytest.raises(AlreadyOpen, match=r"fix-login\.2 is open") as caught:
            runs.save(replace(first, state=RunState.QUEUED))
        assert (caught.value.run, runs.get(first.id)) == (second, first)
        runs.save(replace(second, state=RunState.STOPPED))
        runs.save(replace(first, state=RunState.QUEUED))
        assert [run.name for run in runs.list(open_only=True)] == ["fix-login.1"]

    def test_an_unattended_run_comes_back_as_it_was(self, runs: RunStore) -> None:
        run = replace(
            asking(runs),
            hosted=True,
            worker="host-1",
            attempt=3,
            priority=2,
            hours="20:00-07:00",
            queued_for="repo acme/shop has 2 of 2 slots",
            position=4,
            opens_at=NOW + timedelta(hours=1),
            waits_for="money",
            trust="trusted",
            workspace_removed_at=NOW,
        )
        runs.save(run)
        assert runs.get(run.id) == run

    def test_a_tick_is_noted_once(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        tick = Tick(schedule="nightly", at=NOW, run="01J00001")
        assert here.note_tick(tick)
        assert not there.note_tick(replace(tick, run="", note="its last run nightly.4 is still open"))
        assert there.ticks("nightly") == [tick]

    def test_the_newest_ticks_come_first_each_schedule_its_own(self, runs: RunStore) -> None:
        late = NOW.astimezone() + timedelta(days=1, microseconds=1)
        ticks = [
            Tick(schedule="nightly", at=at, note="outside its hours") for at in (late, NOW - timedelta(days=1), NOW)
        ]
        for tick in (*ticks, Tick(schedule="weekly", at=NOW)):
            assert runs.note_tick(tick)
        assert runs.ticks("nightly") == [ticks[0]]
        assert runs.ticks("nightly", limit=9) == [ticks[0], ticks[2], ticks[1]]
        assert runs.ticks("hourly") == []

    def test_a_worker_that_is_silent_for_long_is_told_from_one_that_lives(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        here.beat("host-1", version="1")
        here.beat("host-2", version="1")
        books.let_pass(40)
        here.beat("host-2", version="2")
        assert [(it.name, it.version) for it in there.workers()] == [("host-1", "1"), ("host-2", "2")]
        assert [it.name for it in there.workers(silent_s=30)] == ["host-1"]
        assert there.workers(silent_s=3_600) == []
        first, second = there.workers()
        assert timedelta(seconds=39) < second.seen_at - first.seen_at < timedelta(seconds=100)
        there.forget_worker("host-1")
        assert [it.name for it in here.workers()] == ["host-2"]

    def test_of_several_who_want_to_be_alone_one_is(self, books: RunBooks) -> None:
        """And something else has a right of its own, whatever its name."""
        here, there = books.open(), books.open()
        with here.alone("recovery") as first, there.alone("recovery") as second, there.alone("a/../b c") as other:
            assert (first, second, other) == (True, False, True)
        with there.alone("recovery") as later:
            assert later

    def test_the_right_to_be_alone_ends_with_an_error(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        with pytest.raises(ZeroDivisionError), here.alone("recovery"):
            raise ZeroDivisionError
        with there.alone("recovery") as later:
            assert later

    def test_the_right_to_be_alone_ends_with_a_process_that_is_killed(self, books: RunBooks) -> None:
        runs = books.open()
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.being_alone", *books.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "alone\n"
            with runs.alone("recovery") as meanwhile:
                assert not meanwhile
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.communicate(timeout=30)
        assert any(_is_alone(runs) for _ in range(10_000))  # a server learns of it a moment later

    def test_threads_share_a_store(self, books: RunBooks) -> None:
        """House-keeping goes on in threads while a run is driven."""
        runs = books.open()
        everyone = [queued(runs, n) for n in range(4)]

        def live(run: Run) -> None:
            for number in range(15):
                runs.log(run.id, "note", str(number))
                runs.say(run.id, "say", str(number))
                assert runs.admit(run.id, slots={}) is None
                runs.save(replace(run, position=number))
                runs.beat(run.name, version="1")

        with ThreadPoolExecutor(len(everyone)) as pool:
            list(pool.map(live, everyone))
        for run in everyone:
            assert [line.text for line in runs.story(run.id)] == [str(number) for number in range(15)]
            assert [word.text for word in runs.unheard(run.id)] == [str(number) for number in range(15)]
        assert runs.admitted() == {run.id for run in everyone}


def _is_alone(runs: RunStore) -> bool:
    with runs.alone("recovery") as found:
        return found
