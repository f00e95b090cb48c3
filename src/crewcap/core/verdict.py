"""What came of a run, from everything that was seen of it.

An agent's own word is the last to be believed: a CLI exits 0 and says `success` over its cap (facts measured for
Claude Code), so money comes from the ledger, work from git and quality from the project's own check.
"""

from __future__ import annotations

from dataclasses import dataclass

from crewcap.core.runs import AgentEnd, CheckResult, Cut, RunEvent, Verdict

AT_CAP = "paused at the cap"  # its own; where a limit that it shares is used up, the reason names that one
_PAYMENT_REQUIRED = 402


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the verdict is drawn from."""

    end: AgentEnd
    cut: Cut = ""
    runaway: str = ""  # why, where it was the watch that cut it
    refused_for_money: int = 0  # requests that a budget refused for good, by the ledger
    turns: int = 0  # requests granted, by the ledger
    max_turns: int = 0
    provider_frozen: str = ""  # why, where the gateway froze the provider's key
    commits: int = 0
    check: CheckResult = "not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict, the move it makes the run do, and one sentence for people."""

    verdict: Verdict
    move: RunEvent
    reason: str


def judge(seen: Evidence) -> Judgement:
    """Weigh the evidence: our own hand first, then money, then the agent's end, then the work."""
    if seen.cut:
        return _cut(seen.cut, seen.runaway)
    if seen.end.api_status == _PAYMENT_REQUIRED or seen.refused_for_money:
        out_of_something = _refused(seen)
        if out_of_something is not None:
            return out_of_something
    if seen.end.kind == "finished":
        return _finished(seen)
    if seen.end.kind == "turn_limit":
        return _turns(seen)
    verdict = {"api_error": Verdict.PROVIDER_ERROR, "truncated": Verdict.TRUNCATED}.get(
        seen.end.kind, Verdict.AGENT_ERROR
    )
    return Judgement(verdict=verdict, move=RunEvent.FAIL, reason=seen.end.message or _ENDINGS[verdict])


_ENDINGS = {
    Verdict.PROVIDER_ERROR: "the provider answered with an error",
    Verdict.TRUNCATED: "an answer hit its output limit",
    Verdict.AGENT_ERROR: "the agent ended without a word",
}


def _cut(cut: Cut, runaway: str) -> Judgement:
    """We ended it ourselves."""
    if runaway:
        move = RunEvent.STOP if cut == "stopped" else RunEvent.PAUSE
        return Judgement(verdict=Verdict.RUNAWAY, move=move, reason=f"{cut} by the watch: {runaway}")
    if cut == "paused":
        return Judgement(verdict=Verdict.CANCELLED, move=RunEvent.PAUSE, reason="paused by you; everything is kept")
    if cut == "stopped":
        return Judgement(verdict=Verdict.CANCELLED, move=RunEvent.STOP, reason="stopped; its work so far is kept")
    reason = "its time was up" if cut == "timeout" else "it showed no sign of life for too long"
    return Judgement(verdict=Verdict.TIMED_OUT, move=RunEvent.FAIL, reason=reason)


def _refused(seen: Evidence) -> Judgement | None:
    """A request was refused; None where the run reached its end all the same."""
    if seen.provider_frozen:
        return Judgement(verdict=Verdict.PROVIDER_ERROR, move=RunEvent.PAUSE, reason=seen.provider_frozen)
    if seen.max_turns and seen.turns >= seen.max_turns:
        return _turns(seen)
    if seen.end.kind == "finished" and seen.commits and seen.check == "passed":
        return None
    if seen.refused_for_money:
        return Judgement(verdict=Verdict.BUDGET_EXHAUSTED, move=RunEvent.PAUSE, reason=AT_CAP)
    return None


def _turns(seen: Evidence) -> Judgement:
    reason = f"it used all of its {seen.max_turns} turns" if seen.max_turns else "it used all of its turns"
    return Judgement(verdict=Verdict.TURN_LIMITED, move=RunEvent.FAIL, reason=reason)


def _finished(seen: Evidence) -> Judgement:
    """The agent says that it is done: look at what it did."""
    if not seen.commits:
        return Judgement(verdict=Verdict.NO_CHANGES, move=RunEvent.FAIL, reason="it ended without a change")
    if seen.check == "failed":
        return Judgement(verdict=Verdict.CHECK_FAILED, move=RunEvent.FAIL, reason="the check is red")
    reason = "the check is green" if seen.check == "passed" else "not checked: no check is set"
    return Judgement(verdict=Verdict.FINISHED, move=RunEvent.SUCCEED, reason=reason)
