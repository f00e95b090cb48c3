"""Books of runs that tests open as often as they like, as several processes would; each store gives its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Protocol

import pytest
from tests.contracts.runs import NOW, a_run

from crewcap.core.money import Money
from crewcap.core.questions import Question
from crewcap.core.runs import Run, RunState
from crewcap.stores import RunStore

WAY = (RunState.QUEUED, RunState.PREPARING, RunState.RUNNING, RunState.FINISHING, RunState.WAITING)
ASKED = Question(
    id="q1",
    asked_at=NOW,
    text="paused at its cap: $2.97 of $3.00 spent",
    choices=("+2.00", "+5.00", "stop"),
    least=Money.usd(1),
)


class RunBooks(Protocol):
    """The same books, for every store that is opened on them."""

    @property
    def words(self) -> Sequence[str]:
        """What another process needs to open them."""

    def open(self) -> RunStore:
        """A store with a connection of its own; closed at the end of the test."""

    def let_pass(self, seconds: float) -> None:
        """Time goes by for those who say that they live."""


class OfRunBooks:
    """What suites over such books share."""

    @pytest.fixture
    def books(self) -> RunBooks:
        raise NotImplementedError

    @pytest.fixture
    def runs(self, books: RunBooks) -> RunStore:
        return books.open()


def all_at_once(books: RunBooks, act: Callable[[RunStore, int], str]) -> set[str]:
    """What four stores say that do the same in the same moment, each from a thread of its own."""
    stores = [books.open() for _ in range(4)]
    ready = Barrier(len(stores), timeout=30)

    def one(number: int) -> str:
        stores[number].list(limit=1)  # its connection is open
        ready.wait()
        return act(stores[number], number)

    with ThreadPoolExecutor(len(stores)) as pool:
        return set(pool.map(one, range(len(stores))))


def queued(runs: RunStore, number: int = 1, *scopes: str) -> Run:
    """A run of an issue of its own, for workers to drive, which counts in these scopes."""
    return runs.create(replace(a_run(number, f"issue-{number}"), scopes=scopes, hosted=True))


def moved(runs: RunStore, run: Run, state: RunState) -> Run:
    """The run, gone the usual way until it is in this state; ended straight from where it is, where it is to end."""
    way = WAY[WAY.index(run.state) + 1 : WAY.index(state) + 1] if state in WAY else (state,)
    for step in way:
        run = replace(run, state=step)
        runs.save(run)
    return run


def asking(runs: RunStore, number: int = 1) -> Run:
    """A run that waits for an answer."""
    run = moved(runs, queued(runs, number), RunState.FINISHING)
    return moved(runs, replace(run, question=ASKED), RunState.WAITING)
