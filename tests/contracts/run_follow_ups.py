"""What people wrote at issues: kept alike by every store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contracts.run_books import OfRunBooks, RunBooks, all_at_once, queued
from tests.contracts.runs import NOW

from crewcap.core.runs import Run
from crewcap.stores import FollowUp, RunStore


def wrote(run: Run, id_: str = "words.1") -> FollowUp:
    return FollowUp(
        tracker=run.issue.tracker,
        issue=run.issue.key,
        id=id_,
        run=run.id,
        attempt=2,
        at=NOW,
        kind="words",
        by="ana",
        text="budget +2",
    )


class FollowUpsContract(OfRunBooks):
    """The suite."""

    def test_what_was_written_is_taken_up_once(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        run = queued(here)
        assert here.begin_follow_up(wrote(run))
        assert not there.begin_follow_up(replace(wrote(run), by="ben"))
        assert there.follow_ups("files", run.issue.key) == [wrote(run)]

    def test_of_many_workers_that_read_it_at_once_one_acts(self, books: RunBooks) -> None:
        run = queued(books.open())
        for number in range(8):

            def take_up(store: RunStore, who: int, number: int = number) -> str:
                return str(who) if store.begin_follow_up(wrote(run, f"words.{number}")) else ""

            assert len(all_at_once(books, take_up) - {""}) == 1

    def test_each_issue_has_its_own_in_the_order_of_their_coming(self, runs: RunStore) -> None:
        run, other = queued(runs, 1), queued(runs, 2)
        for id_ in ("b.1", "a.1"):
            assert runs.begin_follow_up(wrote(run, id_))
        assert runs.begin_follow_up(wrote(other, "b.1"))
        assert [each.id for each in runs.follow_ups("files", run.issue.key)] == ["b.1", "a.1"]
        assert runs.follow_ups("prompt", run.issue.key) == []

    def test_what_came_of_it_is_said_once_and_in_one_line(self, runs: RunStore) -> None:
        run = queued(runs)
        wanted = wrote(run)
        runs.begin_follow_up(wanted)
        runs.end_follow_up(wanted, "it goes\non \x1b[2J")
        runs.end_follow_up(wanted, "it does not")
        assert runs.follow_ups("files", run.issue.key) == [replace(wanted, reply="it goes on  [2J", is_done=True)]

    @pytest.mark.parametrize("text", ["a\n\tb", "\udcff", ""])
    def test_words_that_are_no_text_are_kept_as_far_as_they_are(self, runs: RunStore, text: str) -> None:
        run = queued(runs)
        assert runs.begin_follow_up(replace(wrote(run), text=text))
        assert [each.text for each in runs.follow_ups("files", run.issue.key)] == [text.replace("\udcff", "?")]
