"""`pg_dump` while a gateway writes, the database lost, and the documented procedure, to the letter, in two homes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_restore import blocks, charged, closed, typed, works
from tests.runner.worker.fleet import Fleet, Machine, a_fleet, overlapping
from tests.stores.postgres_server import shared

from crewcap.core.runs import Run, RunState
from crewcap.prices import load


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """One that serves, and a desk beside it, on one database."""
    with a_fleet(tmp_path, shared(), load()) as made:
        yield made


def done(fleet: Fleet, key: str) -> Run:
    run = fleet.add(key, "seconds=0")
    fleet.until(lambda: fleet.run(run).state == RunState.DONE, f"{key} is done")
    return run


def lose(fleet: Fleet, machine: Machine) -> None:
    """It dies, and the database with it."""
    machine.kill()
    fleet.until(lambda: fleet.at_work() == [], "the agents are gone")
    fleet.simulator.idle_in_thread()
    fleet.app.close()
    name = fleet.url.partition("@/")[2].partition("?")[0]
    fleet.server.sql("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def name_in_the_settings(fleet: Fleet, fresh: str) -> None:
    for machine in (*fleet.machines, fleet.desk):
        machine.config.write_text(machine.config.read_text().replace(fleet.url, fresh))
    fleet.url = fresh


def put_on_the_path(fleet: Fleet, *tools: str) -> None:
    """The server's own tools, where what is typed looks for them."""
    folder = fleet.folder / "bin"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(fleet.server.programs / tool)


def test_serve_goes_on_after_its_database_was_lost_and_nothing_is_free(fleet: Fleet) -> None:
    """The copy is of a moment in which a gateway writes; what was granted then is nobody's afterwards."""
    backup, restore, elsewhere = blocks("restore-postgres.md")
    put_on_the_path(fleet, "pg_dump", "pg_restore")
    one, other = fleet.serve("one"), fleet.desk
    before = done(fleet, "before")
    at_work, ended = fleet.add("at-work", "seconds=30 asking"), fleet.add("ended-since", "seconds=3 asking")
    works(fleet, at_work)
    works(fleet, ended)
    copy = fleet.folder / "copy"
    typed(fleet, one, backup, BACKUP=str(copy), URL=fleet.url)
    fleet.until(lambda: fleet.run(ended).state == RunState.DONE, "the one has ended since")
    done(fleet, "made-since")
    fleet.crewcap(one, "ledger", "verify")  # this home has seen so much; its gateway looks once a minute
    lose(fleet, one)
    billed = fleet.simulator.meter.total()

    with closed(fleet):
        name_in_the_settings(fleet, fleet.server.empty())
        said = {"BACKUP": str(copy), "URL": fleet.url, "BILLED_SINCE": billed.exact()}
        first, words = restore.split("\n", 1)
        typed(fleet, one, first, **said)
        assert "is older than it was" in fleet.crewcap(one, "serve", "--listen", "127.0.0.1:0").stderr
        typed(fleet, one, words, **said)
        assert "is not the one that was here before" in fleet.crewcap(other, "ledger", "verify").stderr
        typed(fleet, other, elsewhere, STATE=str(other.home.root))

    assert charged(fleet) >= billed
    keys_of_then = open_keys(fleet)
    assert keys_of_then
    fleet.serve("one")
    fleet.until(lambda: not fleet.still_open(), "all that was open has ended")
    assert {run.name for run in fleet.runs()} == {before.name, at_work.name, ended.name}
    assert {fleet.run(run).state for run in (at_work, ended)} == {RunState.DONE}
    assert fleet.run(at_work).attempt == fleet.run(ended).attempt == 2
    assert not keys_of_then & open_keys(fleet)
    assert boots_of_the_dead(fleet) == 0
    assert len(fleet.starts(before)) == 1
    assert overlapping(fleet.lines()) == []
    fleet.simulator.idle_in_thread()
    assert charged(fleet) >= fleet.simulator.meter.total()
    assert fleet.app.ledger.verify().problems == ()


def open_keys(fleet: Fleet) -> set[str]:
    """Keys that open something."""
    rows = fleet.server.sql(fleet.url, "SELECT id FROM crewcap.virtual_key WHERE revoked_at IS NULL AND run <> ''")
    return {key for (key,) in rows}


def boots_of_the_dead(fleet: Fleet) -> int:
    """Gateways of before that the books still take for living ones."""
    living = [machine.gateway_pid for machine in fleet.machines]
    (row,) = fleet.server.sql(
        fleet.url, "SELECT count(*) FROM crewcap.boot WHERE ended_at IS NULL AND pid <> ALL($1::int[])", living
    )
    return int(row[0])
