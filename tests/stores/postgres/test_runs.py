"""Runs in PostgreSQL keep the contract of runs, for several machines at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel
import pytest
from tests.contracts.runs import NOW, RunsContract, a_run
from tests.stores.postgres_server import Server

from crewcap.core.runs import RunState
from crewcap.errors import UsageError
from crewcap.home import Home
from crewcap.stores.postgres.runs import PostgresRuns
from crewcap.stores.run_rows import AlreadyOpen

Open = Callable[[str], PostgresRuns]


class TestPostgresRuns(RunsContract):
    """The suite over a database of its own."""

    @pytest.fixture
    def url(self, postgres: Server) -> str:
        return postgres.migrated()

    @pytest.fixture
    def open_(self, url: str, tmp_path: Path) -> Iterator[Open]:
        """A store as the home of that name sees it."""
        stores: list[PostgresRuns] = []

        def open_(name: str) -> PostgresRuns:
            stores.append(PostgresRuns(Home(tmp_path / name), url, clock=lambda: NOW))
            return stores[-1]

        yield open_
        for store in stores:
            store.close()

    @pytest.fixture
    def runs(self, open_: Open) -> PostgresRuns:
        return open_("home")

    def test_a_story_cannot_be_rewritten(self, runs: PostgresRuns, postgres: Server, url: str) -> None:
        run = runs.create(a_run())
        runs.log(run.id, "note", "it was so")
        with pytest.raises(asyncpg.PostgresError, match="never changed"):
            postgres.sql(url, "UPDATE crewcap.run_event SET text = 'it was otherwise'")

    def test_an_issue_has_one_open_run_on_all_machines(self, open_: Open) -> None:
        """And nobody takes the run of another machine for one that its own process left behind."""
        here, there = open_("here"), open_("there")
        first = here.create(a_run(1))
        with pytest.raises(UsageError, match=r"fix-login\.1 is open for this issue on ") as caught:
            there.create(a_run(2))
        assert not isinstance(caught.value, AlreadyOpen)
        here.save(replace(first, state=RunState.STOPPED))
        assert there.create(a_run(2)).name == "fix-login.2"

    def test_each_home_sees_its_own_runs(self, open_: Open) -> None:
        """Their workspaces and processes are on one machine; another one could not stop them, or go on with them."""
        here, there = open_("here"), open_("there")
        mine, theirs = here.create(a_run(1)), there.create(a_run(2, "other"))
        assert [run.id for run in here.list()] == [mine.id]
        assert here.get(theirs.id) is None
        assert here.find("other") == []
        assert [run.id for run in open_("here").list(open_only=True)] == [mine.id]

    def test_a_run_that_workers_drive_is_every_homes(self, open_: Open) -> None:
        """Any machine may go on with it, be told to stop it, or answer it; and whoever asks for its issue finds it."""
        here, there = open_("here"), open_("there")
        run = here.create(replace(a_run(1), hosted=True))
        assert there.get(run.id) == run
        assert there.find("fix-login.1") == there.list() == there.list(open_only=True) == [run]
        with pytest.raises(AlreadyOpen) as caught:
            there.create(a_run(2))
        assert caught.value.run == run
        there.save(replace(run, worker="there-1"))
        assert [it.worker for it in here.list()] == ["there-1"]

    def test_a_run_that_a_command_goes_on_with_belongs_to_its_home_from_then_on(self, open_: Open) -> None:
        here, there = open_("here"), open_("there")
        run = replace(here.create(replace(a_run(1), hosted=True)), state=RunState.STOPPED)
        here.save(run)
        there.save(replace(run, state=RunState.QUEUED, hosted=False))
        assert here.list() == []
        assert [it.hosted for it in there.list(open_only=True)] == [False]
        with pytest.raises(UsageError, match="is open for this issue on "):
            here.create(a_run(2))

    def test_whoever_looks_on_sees_that_another_wrote_without_reading_again(self, open_: Open) -> None:
        writer, watcher = open_("home"), open_("watcher")
        seen = watcher.version()
        run = writer.create(a_run())
        created = watcher.version()
        assert created != seen
        writer.log(run.id, "note", "a line of its story")
        assert watcher.version() != created
