"""A newer crewcap on books and runs of an older one: nothing is lost, and nobody who lives is robbed.

The whole way, with the old program itself, is `python -m torture --only upgrade`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel
import pytest
from tests.runner.worker.fleet import Fleet, a_fleet, overlapping
from tests.stores.postgres_server import shared
from tests.workspaces.repos import git

from crewcap.cli.context import utc_now
from crewcap.core.money import Money
from crewcap.core.runs import RunState
from crewcap.home import Home
from crewcap.prices import load
from crewcap.runner.worker.engine import VERSION
from crewcap.stores.postgres.migrations import known, migrate
from crewcap.stores.postgres.runs import PostgresRuns

NEWER = "wf-next"
LONG = "seconds=120 asking"
OLD_BOOKS = Path(__file__).parent / "recorded" / "cut_short_0008.sql"
OLD_SCHEMA = 8


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Fleet]:
    """One machine, whose books are a file."""
    with a_fleet(tmp_path, None, load()) as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with a_fleet(tmp_path, shared(), load()) as made:
        yield made


def working(fleet: Fleet, session: str, *, starts: int = 1) -> None:
    """Wait until the agent's last start has asked for something."""

    def is_so() -> bool:
        pids = [it["pid"] for it in fleet.lines("start") if it["session"] == session]
        return len(pids) == starts and any(it["pid"] == pids[-1] for it in fleet.lines("asked"))

    fleet.until(is_so, f"start {starts} works")


# the version of the workflow


def test_leftovers_of_an_older_workflow_are_a_new_attempt_in_the_same_session(alone: Fleet) -> None:
    run_by_old = alone.serve("alone")
    run = alone.add("live", LONG)
    working(alone, run.session)
    run_by_old.kill()
    spent = alone.spent(run)
    alone.serve("alone", version=NEWER)
    alone.until(lambda: alone.run(run).state == RunState.DONE, "it goes on to its end")
    assert alone.run(run).attempt == 2
    assert [it["resumed"] for it in alone.starts(run)] == [False, True]
    assert alone.spent(run) >= spent > 0
    assert overlapping(alone.lines()) == []


def test_a_living_worker_of_the_older_workflow_keeps_its_runs_until_it_ends(fleet: Fleet) -> None:
    older = fleet.serve("older")
    run = fleet.add("live", LONG)
    working(fleet, run.session)
    fleet.serve("newer", version=NEWER)
    new = fleet.add("new", "seconds=0")
    fleet.until(lambda: fleet.run(new).state == RunState.DONE, "the newer one works beside it")
    looked = [line for line in fleet.machines[1].serve_log.splitlines() if "is dead" in line]
    assert (looked, fleet.run(run).attempt, len(fleet.starts(run))) == ([], 1, 1)
    older.kill()
    fleet.until(lambda: len(fleet.starts(run)) == 2, "the newer one goes on with it")
    assert fleet.run(run).attempt == 2
    assert {it.version for it in fleet.app.runs.workers()} == {NEWER} != {VERSION}
    assert overlapping(fleet.lines()) == []


# the books


def test_a_run_that_an_older_crewcap_was_killed_in_is_gone_on_with(alone: Fleet) -> None:
    """Books that migrations 0001 to 0008 made, and a run as the program before this one wrote it."""
    machine = alone.machine("alone")
    alone.machines.append(machine)
    machine.home.make()
    script = OLD_BOOKS.read_text(encoding="utf-8")
    script = script.replace("@SHOP@", str(alone.user)).replace("@BASE@", git(alone.user, "rev-parse", "HEAD"))
    with closing(sqlite3.connect(machine.home.ledger, isolation_level=None)) as db:
        db.executescript(script)
        assert db.execute("SELECT max(number) FROM migration").fetchone() == (OLD_SCHEMA,)
    told = json.loads(alone.crewcap(machine, "show", "--json").stdout)
    assert "state" in told, told
    assert (told["state"], told["cost_usd"]) == ("running", "0.003390000")
    assert "cut short" in alone.crewcap(machine, "runs").stdout
    done = alone.crewcap(machine, "resume")
    assert done.returncode == 0, done.stderr
    (run,) = alone.runs()
    assert (run.state, run.attempt, run.branch) == (RunState.DONE, 1, "crewcap/seconds-60-asking-please-1")
    assert alone.spent(run) > Money.usd("0.003390").nano
    assert alone.app.ledger.verify().problems == ()


def test_runs_of_an_older_database_are_read_and_open_after_its_migration(tmp_path: Path) -> None:
    """Those of a command: they are their home's."""
    url = shared().empty()
    home = Home(tmp_path / "home")
    document = next(
        line for line in OLD_BOOKS.read_text(encoding="utf-8").splitlines() if line.startswith('INSERT INTO "run" ')
    )
    found = document[document.index("'{") + 1 : document.rindex("}'") + 1]
    assert asyncio.run(_as_it_was(url)) == OLD_SCHEMA
    with closing_runs(home, url) as runs:
        home_name = (home.root / "home.id").read_text()
        del runs
    columns = "id, slug, number, tracker, issue, state, is_open, created_at, document, home, machine"
    said = json.loads(found)
    row = (said["id"], "seconds", 1, "prompt", "k", "running", True, said["created_at"], found, home_name, "here")
    marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    shared().sql(url, f"INSERT INTO crewcap.run ({columns}) VALUES ({marks})", *row)
    asyncio.run(_migrated(url))
    with closing_runs(home, url) as runs:
        (run,) = runs.list(open_only=True)
        assert (run.id, run.state, run.attempt, run.hosted) == (said["id"], RunState.RUNNING, 1, False)
        runs.save(run)
        assert runs.taken() == {}


class closing_runs:  # noqa: N801  (it reads as a function)
    """A store of runs, closed at the end."""

    def __init__(self, home: Home, url: str) -> None:
        home.make()
        self._runs = PostgresRuns(home, url, clock=utc_now)

    def __enter__(self) -> PostgresRuns:
        return self._runs

    def __exit__(self, *_: object) -> None:
        self._runs.close()


async def _as_it_was(url: str) -> int:
    """The database as migrations up to the eighth leave it."""
    db = await asyncpg.connect(url)
    try:
        await migrate(db, zone="UTC", migrations=known()[:OLD_SCHEMA])
        return int(await db.fetchval("SELECT max(number) FROM crewcap.migration"))
    finally:
        await db.close()


async def _migrated(url: str) -> None:
    db = await asyncpg.connect(url)
    try:
        run = await migrate(db, zone="UTC")
        assert run[0].number == OLD_SCHEMA + 1
    finally:
        await db.close()
