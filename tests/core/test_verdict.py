"""The verdict weighs the evidence; the agent's own word comes last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crewcap.core.runs import AgentEnd, Cut, RunEvent, Verdict
from crewcap.core.verdict import Evidence, judge

DONE = AgentEnd(kind="finished", message="all good")
GOOD = Evidence(end=DONE, commits=1, check="passed", turns=4, max_turns=40)


def test_a_green_check_and_a_commit_are_finished() -> None:
    judged = judge(GOOD)
    assert (judged.verdict, judged.move) == (Verdict.FINISHED, RunEvent.SUCCEED)


def test_without_a_check_it_is_finished_and_the_reason_says_so_aloud() -> None:
    judged = judge(replace(GOOD, check="not_run"))
    assert judged.verdict == Verdict.FINISHED
    assert "not checked" in judged.reason


def test_an_agent_that_says_success_and_changed_nothing_did_not_finish() -> None:
    assert judge(replace(GOOD, commits=0)).verdict == Verdict.NO_CHANGES


def test_a_red_check_outweighs_the_agents_word() -> None:
    assert judge(replace(GOOD, check="failed")).verdict == Verdict.CHECK_FAILED


@pytest.mark.parametrize("end", [DONE, AgentEnd(kind="api_error", api_status=402, message="cap reached")])
def test_money_refused_pauses_even_where_the_cli_says_success(end: AgentEnd) -> None:
    """Claude Code exits 0 with `success` when only its subagents were refused."""
    judged = judge(replace(GOOD, end=end, refused_for_money=7, check="failed"))
    assert (judged.verdict, judged.move) == (Verdict.BUDGET_EXHAUSTED, RunEvent.PAUSE)


def test_a_refusal_on_the_way_does_not_spoil_work_that_is_finished_and_green() -> None:
    assert judge(replace(GOOD, refused_for_money=1)).verdict == Verdict.FINISHED


def test_all_turns_used_is_a_turn_limit_and_not_a_budget() -> None:
    end = AgentEnd(kind="api_error", api_status=402)
    assert judge(replace(GOOD, end=end, turns=40, refused_for_money=1)).verdict == Verdict.TURN_LIMITED


def test_a_frozen_provider_key_pauses_and_does_not_fail() -> None:
    judged = judge(replace(GOOD, end=AgentEnd(kind="api_error", api_status=402), provider_frozen="credit is too low"))
    assert (judged.verdict, judged.move, judged.reason) == (Verdict.PROVIDER_ERROR, RunEvent.PAUSE, "credit is too low")


@pytest.mark.parametrize(
    ("cut", "verdict", "event"),
    [
        ("paused", Verdict.CANCELLED, RunEvent.PAUSE),
        ("stopped", Verdict.CANCELLED, RunEvent.STOP),
        ("timeout", Verdict.TIMED_OUT, RunEvent.FAIL),
        ("stalled", Verdict.TIMED_OUT, RunEvent.FAIL),
    ],
)
def test_our_own_hand_comes_first(cut: Cut, verdict: Verdict, event: RunEvent) -> None:
    judged = judge(replace(GOOD, cut=cut, refused_for_money=3))
    assert (judged.verdict, judged.move) == (verdict, event)


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("api_error", Verdict.PROVIDER_ERROR), ("truncated", Verdict.TRUNCATED), ("crashed", Verdict.AGENT_ERROR)],
)
def test_other_ends_fail_with_a_reason(kind: str, verdict: Verdict) -> None:
    judged = judge(replace(GOOD, end=AgentEnd(kind=kind)))  # type: ignore[arg-type]  # parametrized literal
    assert (judged.verdict, judged.move) == (verdict, RunEvent.FAIL)
    assert judged.reason


@pytest.mark.parametrize(("cut", "move"), [("paused", RunEvent.PAUSE), ("stopped", RunEvent.STOP)])
def test_what_the_watch_ended_is_a_runaway_with_its_evidence(cut: Cut, move: RunEvent) -> None:
    judged = judge(replace(GOOD, cut=cut, runaway="read a.py 8 times"))
    assert (judged.verdict, judged.move) == (Verdict.RUNAWAY, move)
    assert judged.reason == f"{cut} by the watch: read a.py 8 times"
