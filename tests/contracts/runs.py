"""What every store of runs keeps, whatever it is made of: one suite, subclassed by each store's own test file.

A subclass gives the fixture `runs`: an empty store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crewcap.core.money import Money
from crewcap.core.runs import AgentEnd, Check, Issue, Run, RunId, RunState, Verdict, WrongTransition
from crewcap.errors import LedgerError
from crewcap.stores import RunStore
from crewcap.stores.run_rows import AlreadyOpen, Overtaken

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def a_run(number: int = 1, issue: str = "fix-login") -> Run:
    return Run(
        id=RunId(f"01J{number:05}"),
        name=issue,
        issue=Issue(tracker="files", key=issue, title="Fix the login", body="…", labels=("bug",), cap=Money.usd(2)),
        state=RunState.QUEUED,
        repo="shop",
        repo_path="/srv/shop",
        created_at=NOW + timedelta(seconds=number),
    )


class RunsContract:
    """The suite."""

    @pytest.fixture
    def runs(self) -> RunStore:
        raise NotImplementedError

    def test_everything_of_a_run_comes_back_as_it_was(self, runs: RunStore) -> None:
        """A restart reads what the dead process knew, money to the last unit."""
        made = runs.create(a_run())
        full = replace(
            made,
            state=RunState.PREPARING,
            cap=Money(3_000_000_001),
            verdict=Verdict.FINISHED,
            check_before=Check(result="failed", summary="2 passed, 1 failed", seconds=0.25, tail="F\n"),
            end=AgentEnd(kind="finished", turns=3, claimed_cost="0.046"),
            started_at=NOW,
            settings={"effort": "high"},
        )
        runs.save(full)
        assert runs.get(full.id) == full

    def test_runs_of_one_issue_are_counted_up_and_names_are_never_given_twice(self, runs: RunStore) -> None:
        first = runs.create(a_run(1))
        runs.save(replace(first, state=RunState.STOPPED))
        assert [first.name, runs.create(a_run(2)).name] == ["fix-login.1", "fix-login.2"]

    def test_an_issue_has_one_open_run(self, runs: RunStore) -> None:
        first = runs.create(a_run(1))
        with pytest.raises(AlreadyOpen, match=r"fix-login\.1 is open") as caught:
            runs.create(a_run(2))
        assert caught.value.run == first
        assert len(runs.list()) == 1

    @pytest.mark.parametrize(
        ("verdict", "says"),
        [
            (Verdict.BUDGET_EXHAUSTED, "crewcap resume fix-login.1 --add 2, or"),
            (None, "crewcap resume fix-login.1, or"),
        ],
    )
    def test_who_asks_for_a_second_run_is_told_how_the_waiting_one_goes_on(
        self, runs: RunStore, verdict: Verdict | None, says: str
    ) -> None:
        run = runs.create(a_run(1))
        for state in (RunState.PREPARING, RunState.RUNNING, RunState.FINISHING):
            run = replace(run, state=state)
            runs.save(run)
        runs.save(replace(run, state=RunState.WAITING, verdict=verdict))
        with pytest.raises(AlreadyOpen) as caught:
            runs.create(a_run(2))
        assert caught.value.help.startswith(says)

    def test_a_state_moves_only_as_the_table_says(self, runs: RunStore) -> None:
        run = runs.create(a_run())
        with pytest.raises(WrongTransition, match="queued cannot become done"):
            runs.save(replace(run, state=RunState.DONE))
        assert runs.get(run.id) == run

    def test_who_does_not_drive_a_run_changes_it_only_as_it_was_when_they_looked(self, runs: RunStore) -> None:
        """A dispatcher and a person may decide at once; of two who stop and resume, the later is told."""
        run = runs.create(a_run())
        asked = replace(run, priority=2)
        runs.save(asked, was=run)
        with pytest.raises(Overtaken, match=r"fix-login\.1 went on meanwhile: it is queued") as caught:
            runs.save(replace(run, state=RunState.STOPPED), was=run)
        assert caught.value.run == runs.get(run.id) == asked
        runs.save(asked, was=run)  # once more, where nobody knows whether it was heard

    def test_a_run_that_was_never_made_cannot_be_saved(self, runs: RunStore) -> None:
        with pytest.raises(LedgerError, match="not in the books"):
            runs.save(a_run())

    def test_a_run_is_found_by_what_people_say(self, runs: RunStore) -> None:
        login, logout = runs.create(a_run(1)), runs.create(a_run(2, "fix-logout"))
        assert runs.find("fix-login.1") == [login]
        assert runs.find("fix-logo") == [logout]
        assert runs.find(login.id) == [login]
        assert runs.find("fix") == [logout, login]
        assert runs.find("") == [logout]
        assert runs.find("%") == runs.find("fix_login") == []

    def test_a_name_is_found_exactly_before_longer_ones_that_begin_like_it(self, runs: RunStore) -> None:
        made = []
        for number in range(11):
            made.append(runs.create(a_run(number)))
            runs.save(replace(made[-1], state=RunState.STOPPED))
        assert [run.id for run in runs.find("fix-login.1")] == [made[0].id]

    def test_open_runs_are_listed_apart(self, runs: RunStore) -> None:
        stopped, live = runs.create(a_run(1)), runs.create(a_run(2, "other"))
        runs.save(replace(stopped, state=RunState.STOPPED))
        assert [run.name for run in runs.list(open_only=True)] == [live.name]

    def test_a_story_is_kept_in_order_and_without_control_characters(self, runs: RunStore) -> None:
        """A log is read in a terminal: no escape sequence of an agent may reach it."""
        run = runs.create(a_run())
        runs.log(run.id, "agent", "read \x1b]52;c;evil\x07 src/login.py\nnext", turn=1)
        runs.log(run.id, "state", "done")
        first, second = runs.story(run.id)
        assert (first.kind, first.text, first.data) == ("agent", "read  ]52;c;evil  src/login.py next", {"turn": 1})
        assert runs.story(run.id, after=first.seq) == [second]
