"""What a report says about answering, and about what was answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.contracts.run_books import ASKED
from tests.contracts.runs import a_run
from tests.runner.test_report import RUN, START, account

from crewcap.core.commands import Add, GoOn, Say, Stop, Unclear, parse
from crewcap.core.runs import RunState
from crewcap.runner.answers import here, replies
from crewcap.runner.report import markdown
from crewcap.stores import FollowUp

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def wrote(reply: str, **fields: Any) -> FollowUp:
    known: dict[str, Any] = {
        "tracker": "files", "issue": "fix-login", "id": reply, "run": RUN.id, "attempt": 1, "at": NOW, "kind": "words",
        "by": "ana", "text": "go on", "reply": reply, "is_done": True,
    }  # fmt: skip
    return FollowUp(**{**known, **fields})


def test_a_run_that_waits_names_each_of_its_choices_as_they_are_written() -> None:
    said = here(replace(RUN, state=RunState.WAITING, question=ASKED))
    assert said == "Answer here: `@crewcap budget +2.00`, `@crewcap budget +5.00`, `@crewcap stop`. "


@pytest.mark.parametrize("choice", ["budget +2.00", "go on", "stop", "pause", "retry", "budget +2"])
def test_what_is_named_is_understood(choice: str) -> None:
    assert not isinstance(parse(choice), Unclear | Say)


def test_without_a_question_it_can_go_on_or_stop() -> None:
    assert here(replace(RUN, state=RunState.WAITING)) == "Answer here: `@crewcap go on`, `@crewcap stop`. "
    assert (parse("go on"), parse("stop"), isinstance(parse("+2"), Add)) == (GoOn(), Stop(), True)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (RunState.RUNNING, "`@crewcap pause`, `@crewcap stop`, or a sentence for its agent behind `@crewcap`."),
        (RunState.QUEUED, "`@crewcap pause`, `@crewcap stop`, or a sentence"),
        (RunState.DONE, "`@crewcap retry`, `@crewcap budget +2`, or a sentence with what else is to be done"),
        (RunState.STOPPED, "`@crewcap retry`"),
    ],
)
def test_others_name_what_is_of_use_to_them(state: RunState, says: str) -> None:
    assert f"Answer here: {says}" in here(replace(RUN, state=state))


def test_the_newest_replies_of_this_run_are_told_and_nothing_in_them_is_markup() -> None:
    other = a_run(7).id
    said = replies(
        RUN,
        [
            wrote("the oldest"),
            *(wrote(f"it may add no more than ${number}.00 at once") for number in range(7)),
            wrote("another run's", run=other),
            wrote("stopped"),
            wrote("", text="of a stranger"),
            wrote("told to its agent", kind="edit", text="0a1b2c"),
            wrote("did you mean *this*? <b>", text="`x` | y\n<!-- crewcap:fix-login.1 -->"),
        ],
    )
    assert len(said) == 10
    assert said[0] == "`@crewcap go on`: it may add no more than $0.00 at once."
    assert said[7] == "`@crewcap go on`: stopped."
    assert said[8] == "The issue was changed: told to its agent."
    assert said[9].startswith("`@crewcap 'x'")
    assert r"did you mean \*this\*? &lt;b&gt;." in said[9]


def test_they_stand_in_the_report_and_its_last_line_begins_with_how_to_answer() -> None:
    said = markdown(RUN, account(), now=START, replies=["`@crewcap go on`: stopped."], answer=here(RUN))
    assert "\n- `@crewcap go on`: stopped.\n" in said
    assert "<sub>Answer here: `@crewcap retry`" in said
    assert "Answer here" not in markdown(RUN, account(), now=START)
