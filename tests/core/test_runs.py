"""A run moves only as its table says."""

from __future__ import annotations

import itertools

import pytest

from crewcap.core.runs import EXIT_STATUS, OPEN_STATES, TRANSITIONS, RunEvent, RunState, Verdict, WrongTransition, move

ENDS = {RunState.DONE, RunState.FAILED, RunState.STOPPED}


@pytest.mark.parametrize(("state", "event"), list(TRANSITIONS), ids=str)
def test_a_move_of_the_table_is_made(state: RunState, event: RunEvent) -> None:
    assert move(state, event) == TRANSITIONS[state, event]


def test_every_other_move_is_refused_with_both_words() -> None:
    """There are far more wrong moves than right ones; none may pass."""
    for state, event in itertools.product(RunState, RunEvent):
        if (state, event) not in TRANSITIONS:
            with pytest.raises(WrongTransition, match=f"{state} cannot {event}"):
                move(state, event)


def test_out_of_an_end_leads_nothing_but_a_person_s_word() -> None:
    """A follow-up goes back into the queue, where everything is looked at anew."""
    leading_out = {(event, after) for (state, event), after in TRANSITIONS.items() if state in ENDS}
    assert leading_out == {(RunEvent.RESUME, RunState.QUEUED)}


def test_every_open_state_can_be_stopped_or_leads_to_one_that_can() -> None:
    """No run may be stuck: `stop` reaches it, at the latest one step on."""
    stoppable = {state for state, event in TRANSITIONS if event == RunEvent.STOP}
    for state in OPEN_STATES:
        assert state in stoppable or any(
            after in stoppable for (before, _), after in TRANSITIONS.items() if before == state
        )


def test_every_state_is_reached_from_queued() -> None:
    reached = {RunState.QUEUED}
    while new := {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached:
        reached |= new
    assert reached == set(RunState)


def test_every_verdict_has_an_exit_status_and_money_alone_is_three() -> None:
    assert set(EXIT_STATUS) == set(Verdict)
    assert [verdict for verdict, status in EXIT_STATUS.items() if status == 3] == [Verdict.BUDGET_EXHAUSTED]
