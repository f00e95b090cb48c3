"""A run that came to rest goes back into the queue: the same session, the same branch, a new attempt.

A waiting run has a question, and its answer is written down before anything else moves: whoever answers second is told
who was first. What follows from an answer depends on the answer alone, so one that was cut off half-way is carried
through by whoever comes next, and comes out the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunEvent, RunState, Verdict, move
from crewcap.errors import MoneyRefused, UsageError
from crewcap.runner.asking import GoingOn, Short, enough, going_on, shortage
from crewcap.runner.ownership import myself
from crewcap.stores import Ledger, RunStore
from crewcap.stores.run_rows import AlreadyAnswered

if TYPE_CHECKING:
    from crewcap.runner.plan import Plan

AT_REST = frozenset({RunState.WAITING, RunState.DONE, RunState.FAILED, RunState.STOPPED})
GO_ON = "go on"


def refuse_resume(run: Run, *, has_workspace: bool) -> None:
    """`UsageError` where a run cannot go on at all."""
    if run.state not in AT_REST:
        raise UsageError(f"{run.name} does not wait: it is {run.state}", help=f"crewcap show {run.name}")
    if run.workspace_removed_at is not None or (run.state != RunState.WAITING and not has_workspace):
        when = f" on {run.workspace_removed_at:%Y-%m-%d}" if run.workspace_removed_at else ""
        kept = f"; its branch {run.branch} is kept" if run.commits else ""
        raise UsageError(f"{run.name} has no workspace any more: it was removed{when}{kept}", help="crewcap run again")


def cap_of(run: Run) -> Money:
    """Its cap when it goes on: one that a budget had cut to what was left then is what it was asked for again."""
    return max(run.cap, run.wish)


def within_issue(ledger: Ledger, run: Run, add: Money) -> Money:
    """As much of what is to be added as the issue's lifetime budget lets the run spend: more would be idle.

    `MoneyRefused` where that is nothing.
    """
    issue = Scope(f"issue:{run.issue.scope_name}")
    budgets = [each for each in ledger.all_balances() if each.scope == issue and each.window == "total"]
    if not add or not budgets:
        return add
    least, spent, cap = min(budgets, key=lambda each: each.left_when_idle), spent_of(ledger, run), cap_of(run)
    most = spent + least.left_when_idle - cap
    if most.nano <= 0:
        stands = f"{issue} has {least.left_when_idle.show()} left of {least.limit.show()}"
        raise MoneyRefused(
            f"{run.name}: nothing of {add} is added: its cap of {cap} is all that its issue's budget leaves ({stands})",
            help=f"crewcap budget set {issue} total {enough(least.spent + least.uncertain - spent + cap + add)}",
        )
    return min(add, most)


def refuse_second_answer(run: Run, add: Money) -> None:
    """`AlreadyAnswered` where somebody said something else; `add` is what would be added now."""
    asked = run.question
    is_answered = run.state == RunState.WAITING and asked is not None and not asked.is_open
    if is_answered and asked is not None and not _means_the_same(asked.answer, _written(add)):
        raise AlreadyAnswered(run)


def refuse_poor_resume(run: Run, add: Money, *, spent: Money, cost: GoingOn, short: Short | None) -> None:
    """`MoneyRefused`, with the smallest amount that would do, where not even the first turn would fit (MONEY 5)."""
    least, cap = max(cost.least, Money(1)), cap_of(run)
    if short is not None:
        raise MoneyRefused(f"{run.name}: {short.said}, and its next turn needs up to {least.show()}", help=short.remedy)
    missing = Money((spent + least - cap - add).nano)
    if missing.nano > 0:
        raise MoneyRefused(
            f"{run.name} used {spent} of {cap}{f' and {add} more' if add else ''}, and its next turn needs up to"
            f" {least.show()} to be sent",
            help=f"crewcap resume {run.name} --add {enough(add + missing)}",
        )


def afford(ledger: Ledger, run: Run, plan: Plan, add: Money) -> GoingOn:
    """What going on costs at first; `MoneyRefused` where there would not be enough for it."""
    cost = going_on(ledger, run, plan.card, thinking=plan.route.thinking_tokens or 0)
    short = shortage(ledger, run, cost.least, tokens=cost.tokens)
    refuse_poor_resume(run, add, spent=spent_of(ledger, run), cost=cost, short=short)
    return cost


def resume(
    runs: RunStore, run: Run, *, add: Money = ZERO, by: str, hosted: bool, message: str = "", place: str = ""
) -> Run:
    """Answer the run's question, if it has one, and put it back into the queue; the run as it is then.

    `place` is where its workspace stands, if a worker there is to go on with what a command drove so far.
    `AlreadyAnswered` and `Overtaken` say who or what was first.
    """
    asked, answer = _answered(runs, run, _written(add), by=by)
    pid, started = (0, "") if hosted else myself()
    worker = f"{place}." if place else asked.worker
    again = replace(queued_again(asked, answer), hosted=hosted, worker=worker, owner_pid=pid, owner_started=started)
    _hand_on_words(runs, run, message, by=by)
    runs.save(again, was=asked)
    runs.log(run.id, "state", f"resumed by {by} with a cap of {again.cap}")
    return again


def stop_at_rest(runs: RunStore, run: Run, *, by: str, now: datetime) -> Run:
    """End a run that nobody drives, by a person's word; its question is answered with that. `Overtaken`: look again."""
    if run.question is not None and run.question.is_open and run.state == RunState.WAITING:
        run = runs.answer(run.id, run.question.id, "stop", by=by)
    stopped = replace(
        run,
        state=move(run.state, RunEvent.STOP),
        verdict=run.verdict or Verdict.CANCELLED,
        reason=f"stopped by {by}",
        waits_for="",
        ended_at=now,
    )
    runs.save(stopped, was=run)
    runs.log(run.id, "state", f"stopped by {by}")
    return stopped


def given(run: Run) -> Money:
    """What was added in an answer that nobody has carried out yet."""
    asked = run.question
    return _added(asked.answer) if run.state == RunState.WAITING and asked is not None else ZERO


def queued_again(run: Run, answer: str) -> Run:
    """The run as it goes back into the queue; its last end is history, and a person's word gives it its time anew."""
    add = _added(answer)
    return replace(
        run,
        state=move(run.state, RunEvent.RESUME),
        attempt=run.attempt + 1,
        cap=cap_of(run) + add,
        cap_because=f"raised by {add}" if add else "as it was asked for" if cap_of(run) > run.cap else run.cap_because,
        wish=cap_of(run) + add,
        verdict=None,
        reason="",
        end=None,
        cut="",
        fixes=0,
        ended_at=None,
        waits_for="",
        queued_for="",
        opens_at=None,
        position=0,
        is_prepared=run.is_prepared or run.epoch > 1,  # its agent has begun, by a version that did not say so
        seconds_before=run.agent_seconds,
        turns_before=run.turns,
        owner_pid=0,  # whoever drove it is alive, perhaps, and drives others
        owner_started="",
    )


def is_expired(run: Run, now: datetime) -> bool:
    """Whether nobody answered in time."""
    asked = run.question
    return asked is not None and asked.is_open and asked.expires_at is not None and now >= asked.expires_at


def spent_of(ledger: Ledger, run: Run) -> Money:
    """What a run has cost, what is uncertain included."""
    totals = ledger.totals(Scope(f"run:{run.id}"))
    return totals.spent + totals.uncertain


def _answered(runs: RunStore, run: Run, answer: str, *, by: str) -> tuple[Run, str]:
    """The run with the answer that holds: ours, or the one that was cut off after it was given."""
    asked = run.question
    if run.state != RunState.WAITING or asked is None:
        return run, answer
    try:
        return runs.answer(run.id, asked.id, answer, by=by), answer
    except AlreadyAnswered as already:
        now, held = already.run, already.run.question
        is_same_pause = now.state == RunState.WAITING and held is not None and held.id == asked.id
        if not is_same_pause or held is None or not _means_the_same(held.answer, answer):
            raise
        return now, held.answer


def _hand_on_words(runs: RunStore, run: Run, message: str, *, by: str) -> None:
    """What ended the run, or came too late to end it, is over; what its agent was not told yet is told now."""
    stale = runs.unheard(run.id)
    texts = [word.text for word in stale if word.kind == "say"]
    if message:
        texts.append(message)
    if texts:
        runs.say(run.id, "say", "\n\n".join(texts), by=by)
    if stale:
        runs.heard(run.id, upto=stale[-1].seq)


def _written(add: Money) -> str:
    """An answer as a question's choices have it: `+2.00`."""
    if not add:
        return GO_ON
    dollars, _, fraction = add.exact().partition(".")
    return f"+{dollars}.{fraction.rstrip('0'):0<2}"


def _added(answer: str) -> Money:
    return Money.usd(answer[1:]) if answer.startswith("+") else ZERO


def _means_the_same(held: str, answer: str) -> bool:
    """`+2` is `+2.00`."""
    return held == answer or (bool(_added(held)) and _added(held) == _added(answer))
