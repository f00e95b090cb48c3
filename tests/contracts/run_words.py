"""What is said to runs, and what they are answered: kept alike by every store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contracts.run_books import ASKED, OfRunBooks, RunBooks, all_at_once, asking, moved, queued
from tests.contracts.runs import NOW

from crewcap.core.runs import Run, RunId, RunState, Word
from crewcap.errors import LedgerError, UsageError
from crewcap.stores import RunStore
from crewcap.stores.run_rows import AlreadyAnswered

ANSWERED = replace(ASKED, answer="+2.00", answered_by="ana", answered_at=NOW)


class WordsContract(OfRunBooks):
    """The suite."""

    def test_what_is_said_to_a_run_is_heard_by_whoever_drives_it_oldest_first(self, books: RunBooks) -> None:
        """The command that says it and the worker that hears it are two processes."""
        here, there = books.open(), books.open()
        run, other = queued(here, 1), queued(here, 2)
        first = here.say(run.id, "say", "use the old parser", by="ana")
        here.say(other.id, "pause")
        second = here.say(run.id, "stop", by="crewcap stop")
        assert there.unheard(run.id) == [
            Word(seq=first, at=NOW, kind="say", text="use the old parser", by="ana"),
            Word(seq=second, at=NOW, kind="stop", by="crewcap stop"),
        ]

    def test_a_word_that_was_heard_is_not_heard_again_and_a_later_one_is(self, runs: RunStore) -> None:
        """A driver that takes over acts on what is left, and on nothing twice."""
        run, other = queued(runs, 1), queued(runs, 2)
        runs.say(other.id, "pause")
        first, second = runs.say(run.id, "say", "one"), runs.say(run.id, "say", "two")
        runs.heard(run.id, upto=first)
        assert [word.seq for word in runs.unheard(run.id)] == [second]
        assert [word.kind for word in runs.unheard(other.id)] == ["pause"]

    def test_a_message_keeps_its_lines_and_loses_only_what_is_no_text(self, runs: RunStore) -> None:
        run = queued(runs)
        runs.say(run.id, "say", "first\n\tsecond \x00 \udcff end", by="ana\x1b[2J\nb")
        (word,) = runs.unheard(run.id)
        assert (word.text, word.by) == ("first\n\tsecond \ufffd ? end", "ana [2J b")

    def test_nothing_is_said_to_a_run_that_was_never_made(self, runs: RunStore) -> None:
        with pytest.raises(LedgerError, match="01JNONE is not in the books"):
            runs.say(RunId("01JNONE"), "stop")

    def test_a_question_is_answered_once_and_who_comes_later_is_told_by_whom(self, books: RunBooks) -> None:
        here, there = books.open(), books.open()
        run = asking(here)
        told = here.answer(run.id, "q1", "+2.00", by="ana")
        assert told == here.get(run.id) == replace(run, question=ANSWERED)
        with pytest.raises(AlreadyAnswered, match=r"issue-1\.1 was answered already: '\+2\.00' by ana") as caught:
            there.answer(run.id, "q1", "stop", by="ben")
        assert caught.value.run == told

    def test_of_many_answers_at_once_one_counts(self, books: RunBooks) -> None:
        """A command, the issue and a person in a browser, in the same moment."""
        runs = books.open()
        for run in [asking(runs, number) for number in range(8)]:

            def answer(store: RunStore, number: int, run: Run = run) -> str:
                try:
                    return _answer(store.answer(run.id, "q1", "stop", by=f"person {number}"))[-1]
                except AlreadyAnswered as error:
                    return _answer(error.run)[-1]

            assert len(all_at_once(books, answer)) == 1

    def test_only_the_question_of_the_present_pause_can_be_answered(self, runs: RunStore) -> None:
        run = asking(runs)
        with pytest.raises(AlreadyAnswered, match="it asks something else by now"):
            runs.answer(run.id, "q0", "+2.00", by="ana")
        assert runs.get(run.id) == run

    @pytest.mark.parametrize("state", [RunState.STOPPED, RunState.QUEUED])
    def test_a_run_that_does_not_wait_any_more_takes_no_answer(self, runs: RunStore, state: RunState) -> None:
        run = replace(asking(runs), state=state)
        runs.save(run)
        with pytest.raises(AlreadyAnswered, match=f"it is {state}"):
            runs.answer(run.id, "q1", "+2.00", by="ana")
        assert runs.get(run.id) == run

    def test_an_answer_without_words_leaves_the_question_open(self, runs: RunStore) -> None:
        run = asking(runs)
        with pytest.raises(UsageError, match="needs words"):
            runs.answer(run.id, "q1", " \n", by="ana")
        assert runs.get(run.id) == run

    def test_an_answer_is_not_lost_when_the_run_is_saved_by_who_read_it_before(self, books: RunBooks) -> None:
        """House-keeping may write a waiting run that it read a moment ago."""
        here, there = books.open(), books.open()
        stale = asking(here)
        there.answer(stale.id, "q1", "+2.00", by="ana")
        here.save(replace(stale, workspace_removed_at=NOW))
        saved = there.get(stale.id)
        assert saved == replace(stale, workspace_removed_at=NOW, question=ANSWERED)

    def test_a_new_pause_asks_anew(self, runs: RunStore) -> None:
        run = asking(runs)
        answered = runs.answer(run.id, "q1", "+2.00", by="ana")
        again = replace(answered, state=RunState.QUEUED)
        runs.save(again)
        run = moved(runs, again, RunState.FINISHING)
        asks = replace(run, question=replace(ASKED, id="q2"))
        runs.save(replace(asks, state=RunState.WAITING))
        assert _answer(runs.answer(run.id, "q2", "stop", by="ben")) == ("q2", "stop", "ben")


def _answer(run: Run) -> tuple[str, str, str]:
    assert run.question is not None
    return run.question.id, run.question.answer, run.question.answered_by
