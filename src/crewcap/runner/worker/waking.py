"""Runs that wait and need no answer go on by themselves; those that nobody answers come to an end.

What a run waits for is on its row (`runner/asking`). A provider's key that is in order again, a window of a budget
that begins anew, a limit that was raised: then the run goes back into the queue, where it is admitted like any other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from crewcap.core.pricing import RateCard, UnknownPrice
from crewcap.core.runs import Run, RunEvent, RunState, Verdict, move
from crewcap.runner.asking import going_on, shortage
from crewcap.runner.house import House
from crewcap.runner.plan import PROVIDER
from crewcap.runner.resuming import GO_ON, is_expired, queued_again
from crewcap.stores.run_rows import Overtaken

_AT_LEAST = timedelta(minutes=1)  # what the books show as room may be none for the gateway: no circle runs faster


def wake(house: House, run: Run, *, frozen: Collection[str]) -> Run | None:
    """Let a waiting run go on, or end, where it is time; the run as it is then, None where it waits on."""
    if run.state != RunState.WAITING:
        return None
    if is_expired(run, house.clock()):
        return _ended(house, run)
    if run.hosted and _may_go_on(house, run, frozen):
        again = replace(
            queued_again(run, GO_ON),
            seconds_before=run.seconds_before,
            turns_before=run.turns_before,
            fixes=run.fixes,  # these and its time are given anew by a person's word alone
        )
        return _saved(house, run, again, f"goes on by itself: {run.waits_for} is there again")
    return None


def _may_go_on(house: House, run: Run, frozen: Collection[str]) -> bool:
    match run.waits_for:
        case "provider":
            return not frozen
        case "money":
            if run.question is not None and house.clock() - run.question.asked_at < _AT_LEAST:
                return False
            cost = going_on(house.ledger, run, _card(house, run))
            return shortage(house.ledger, run, cost.least, tokens=cost.tokens) is None
        case _:
            return False


def _card(house: House, run: Run) -> RateCard | None:
    try:
        return house.book.card(PROVIDER, run.model, at=house.clock())
    except UnknownPrice:
        return None


def _ended(house: House, run: Run) -> Run | None:
    """Nobody answered: it stops, and its branch stays."""
    reason = "nobody answered in time" + (f"; its branch {run.branch} is kept" if run.commits else "")
    stopped = replace(
        run,
        state=move(run.state, RunEvent.STOP),
        verdict=run.verdict or Verdict.CANCELLED,
        reason=reason,
        ended_at=house.clock(),
    )
    return _saved(house, run, stopped, f"stopped: {reason}")


def _saved(house: House, run: Run, then: Run, words: str) -> Run | None:
    try:
        house.runs.save(then, was=run)
    except Overtaken:  # a person was quicker
        return None
    house.runs.log(run.id, "state", words)
    return then
