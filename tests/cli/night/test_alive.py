"""Who carries out runs without anybody at the keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.run_home import RunHome, cut_short, driven

from crewcap.cli.context import Call, make_call
from crewcap.cli.night.alive import is_served, is_stranded, place_here, workers_elsewhere
from crewcap.core.runs import RunState
from crewcap.runner.ownership import myself
from crewcap.serve.claim import claim

WORKERS: dict[str, Any] = {"hosted": True, "worker": "local"}  # a run that this home's worker has, or had


@pytest.fixture
def call(home: RunHome) -> Iterator[Call]:
    made = make_call({"home": str(home.home.root), "config": str(home.config)})
    yield made
    made.close()


@pytest.fixture
def served(home: RunHome) -> Iterator[None]:
    """A `crewcap serve` of this home, as far as others can tell."""
    pid, started = myself()
    with claim(home.home):
        home.home.serve_note.write_text(json.dumps({"pid": pid, "started": started}))
        yield


def test_without_a_serve_nobody_carries_out_anything(home: RunHome, call: Call) -> None:
    assert not is_served(call)
    assert workers_elsewhere(call) == 0
    assert not home.home.root.exists()  # looking makes nothing


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("fields", [{}, WORKERS])
def test_a_serve_on_this_home_carries_out_whatever_run_there_is(
    home: RunHome, call: Call, fields: dict[str, Any]
) -> None:
    assert is_served(call)
    assert is_served(call, home.add(state=RunState.WAITING, **fields))


def test_with_books_in_a_file_there_is_one_place_and_it_needs_no_name(call: Call) -> None:
    assert place_here(call) == ""


def test_a_run_whose_worker_died_is_stranded_only_where_no_serve_starts_another(home: RunHome, call: Call) -> None:
    run = home.add(state=RunState.RUNNING, **WORKERS, **cut_short())
    assert is_stranded(call, run)
    with claim(home.home):
        assert not is_stranded(call, run)
    assert is_stranded(call, run)


@pytest.mark.usefixtures("served")
def test_one_that_a_command_drove_is_stranded_beside_a_serve_too(home: RunHome, call: Call) -> None:
    """Nobody goes on with it but a person."""
    assert is_stranded(call, home.add(state=RunState.RUNNING, **cut_short()))


@pytest.mark.parametrize("state", [RunState.WAITING, RunState.DONE])
def test_one_that_rests_is_not_stranded(home: RunHome, call: Call, state: RunState) -> None:
    assert not is_stranded(call, home.add(state=state, **cut_short()))


def test_one_whose_driver_lives_is_not_stranded(home: RunHome, call: Call) -> None:
    assert not is_stranded(call, home.add(state=RunState.RUNNING, **driven()))
