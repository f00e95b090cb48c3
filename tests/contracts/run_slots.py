"""Places that runs take from one another: exact, whichever store, however many processes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from tests.contracts.run_books import OfRunBooks, RunBooks, asking, moved, queued

from crewcap.core.budget import ALL, Scope
from crewcap.core.runs import AT_WORK, Run, RunId, RunState
from crewcap.errors import LedgerError, UsageError
from crewcap.stores import RunStore

SHOP, TEAM = Scope("repo:shop"), Scope("team:core")
ROOT = Path(__file__).parents[2]


class SlotsContract(OfRunBooks):
    """The suite."""

    def test_a_run_takes_a_place_in_every_scope_limited_or_not(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        run = queued(here, 1, SHOP, TEAM, ALL)
        assert here.admit(run.id, slots={ALL: 2}) is None
        assert there.taken() == {SHOP: 1, TEAM: 1, ALL: 1}
        assert there.admitted() == {run.id}

    def test_where_one_scope_is_full_nothing_is_taken_and_it_is_named(self, runs: RunStore) -> None:
        first, second = queued(runs, 1, SHOP, ALL), queued(runs, 2, SHOP, TEAM, ALL)
        slots = {SHOP: 1, ALL: 5}
        assert runs.admit(first.id, slots=slots) is None
        assert runs.admit(second.id, slots=slots) == SHOP
        assert runs.taken() == {SHOP: 1, ALL: 1}
        assert runs.admitted() == {first.id}
        runs.give_back(first.id)
        assert runs.admit(second.id, slots=slots) is None

    def test_no_slots_at_all_admit_nobody(self, runs: RunStore) -> None:
        assert runs.admit(queued(runs, 1, ALL).id, slots={ALL: 0}) == ALL

    def test_a_run_that_names_no_scope_counts_in_all(self, runs: RunStore) -> None:
        """Runs that an earlier version wrote down name none."""
        run = queued(runs)
        assert runs.admit(run.id, slots={ALL: 1}) is None
        assert runs.taken() == {ALL: 1}
        assert runs.admitted() == {run.id}

    def test_asking_again_is_asking_once(self, books: RunBooks) -> None:
        """A worker that died between its places and its start asks again; so may another worker."""
        run = queued(books.open(), 1, SHOP, ALL)
        for runs in (books.open(), books.open()):
            assert runs.admit(run.id, slots={ALL: 1, SHOP: 1}) is None
            assert runs.taken() == {SHOP: 1, ALL: 1}

    def test_a_limit_that_was_lowered_takes_no_place_away_and_gives_none(self, runs: RunStore) -> None:
        first, second = queued(runs, 1), queued(runs, 2)
        assert [runs.admit(run.id, slots={ALL: 2}) for run in (first, second)] == [None, None]
        assert runs.admit(first.id, slots={ALL: 1}) is None
        runs.give_back(first.id)
        assert runs.admit(first.id, slots={ALL: 1}) == ALL

    def test_only_a_queued_run_is_admitted(self, runs: RunStore) -> None:
        run = moved(runs, queued(runs), RunState.PREPARING)
        with pytest.raises(UsageError, match=r"issue-1\.1 is preparing, and only a queued run"):
            runs.admit(run.id, slots={})
        with pytest.raises(LedgerError, match="is not in the books"):
            runs.admit(RunId("01JNONE"), slots={})
        assert runs.taken() == {}

    @pytest.mark.parametrize("ends", [RunState.STOPPED, RunState.FAILED, RunState.WAITING])
    def test_a_run_that_comes_to_rest_gives_its_places_back(self, runs: RunStore, ends: RunState) -> None:
        run, other = queued(runs, 1, SHOP), queued(runs, 2)
        for one in (run, other):
            runs.admit(one.id, slots={})
        run = moved(runs, replace(run, position=3, queued_for="a reason"), RunState.FINISHING)
        assert runs.admitted() == {run.id, other.id}
        moved(runs, run, ends)
        assert runs.taken() == {ALL: 1}
        assert runs.admitted() == {other.id}

    def test_a_queued_run_keeps_its_places_whatever_is_noted_of_it(self, runs: RunStore) -> None:
        run = queued(runs)
        runs.admit(run.id, slots={})
        runs.save(replace(run, worker="host-1"))
        assert runs.admitted() == {run.id}

    def test_a_run_that_another_machine_prepares_anew_keeps_its_places(self, runs: RunStore) -> None:
        run = queued(runs)
        runs.admit(run.id, slots={})
        run = moved(runs, run, RunState.RUNNING)
        runs.save(replace(run, state=RunState.PREPARING, attempt=2))
        assert runs.admitted() == {run.id}

    def test_a_run_that_goes_on_needs_its_places_anew(self, runs: RunStore) -> None:
        run = asking(runs)
        runs.save(replace(run, state=RunState.QUEUED, attempt=2))
        assert runs.admitted() == frozenset()
        assert runs.admit(run.id, slots={ALL: 1}) is None

    def test_places_add_up_whatever_happens(self, runs: RunStore) -> None:
        """Three hundred random steps beside a model that is a set."""
        random, model = Random(5), _Model()
        everyone = [queued(runs, n, f"repo:{n % 3}", *([TEAM] if n % 2 else []), ALL) for n in range(12)]
        now = {run.id: run for run in everyone}
        for _ in range(300):
            run = now[random.choice(everyone).id]
            if run.state != RunState.QUEUED:
                after = replace(run, state=RunState.STOPPED if run.state in AT_WORK else RunState.QUEUED)
                runs.save(after)
                model.admitted.discard(run.id)
            elif random.random() < 0.2:
                runs.give_back(run.id)
                model.admitted.discard(run.id)
                after = run
            else:
                full = runs.admit(run.id, slots=_Model.SLOTS)
                assert full == model.admit(run, everyone)
                after = moved(runs, run, RunState.PREPARING) if full is None and random.random() < 0.6 else run
            now[run.id] = after
            assert runs.admitted() == model.admitted
            assert dict(runs.taken()) == model.taken(everyone)

    def test_four_processes_never_have_more_runs_at_work_than_there_are_slots(self, books: RunBooks) -> None:
        """Sixty runs, five places, two of each repository: all are done in the end, and none too many at any moment."""
        runs = books.open()
        everyone = [queued(runs, n, f"repo:{n % 4}", ALL) for n in range(60)]
        seen: list[Mapping[Scope, int]] = []
        with _four_processes(books, everyone) as children:
            while any(child.poll() is None for child in children):
                seen.append(runs.taken())
            spans = [span for child in children for span in _spans(child)]
        assert sorted(span.run for span in spans) == sorted(run.id for run in everyone)
        assert runs.taken() == {}
        assert max(it.get(ALL, 0) for it in seen) <= 5
        assert all(count <= 2 for it in seen for scope, count in it.items() if scope != ALL)
        scope_of = {run.id: run.scopes[0] for run in everyone}
        assert _most_at_once(spans) <= 5
        assert all(_most_at_once([s for s in spans if scope_of[s.run] == f"repo:{n}"]) <= 2 for n in range(4))


class _Model:
    """Who has places, as anybody would count it."""

    SLOTS = {ALL: 4, Scope("repo:1"): 1, TEAM: 2}  # noqa: RUF012  (never changed)

    def __init__(self) -> None:
        self.admitted: set[RunId] = set()

    def taken(self, everyone: Sequence[Run]) -> dict[Scope, int]:
        return dict(Counter(Scope(scope) for run in everyone if run.id in self.admitted for scope in run.scopes))

    def admit(self, run: Run, everyone: Sequence[Run]) -> Scope | None:
        if run.id in self.admitted:
            return None
        taken = self.taken(everyone)
        for scope in map(Scope, run.scopes):
            if taken.get(scope, 0) >= self.SLOTS.get(scope, 99):
                return scope
        self.admitted.add(run.id)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """While a process surely had a run's places: from after they were taken until before they were given back."""

    run: RunId
    begin: int  # nanoseconds of the machine's one monotonic clock
    end: int


def _spans(child: subprocess.Popen[str]) -> Iterator[_Span]:
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    for line in said.splitlines():
        run, begin, end = line.split()
        yield _Span(run=RunId(run), begin=int(begin), end=int(end))


def _most_at_once(spans: Sequence[_Span]) -> int:
    steps = sorted([(span.begin, 1) for span in spans] + [(span.end, -1) for span in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


@contextmanager
def _four_processes(books: RunBooks, everyone: Sequence[Run]) -> Iterator[list[subprocess.Popen[str]]]:
    """Each with a quarter of the runs; they begin together."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.stores.admitting", *books.words, *(run.id for run in everyone[part::4])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for part in range(4)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate(timeout=30)
