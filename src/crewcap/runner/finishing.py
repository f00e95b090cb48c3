"""From finishing to an end: the work is fetched, checked and judged; a red check may go back into the session."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from crewcap.core.runs import AgentEnd, Check, RunEvent, Verdict
from crewcap.core.verdict import Evidence, Judgement, judge
from crewcap.runner.asking import at_its_cap, going_on, question_of, shortage, waits_for
from crewcap.runner.lending import spilled
from crewcap.runner.preparing import checked
from crewcap.runner.record import Record
from crewcap.runner.resuming import cap_of
from crewcap.runner.scrubbed import scrubbed


async def finish(record: Record) -> None:
    """Fetch the work, check it, and judge; a red check may go back into the session."""
    tools = record.tools
    titled = replace(record.run, issue=scrubbed(record.run.issue, record.lent.scrubber))  # a commit is named after it
    kept = await tools.tree.collect(titled, tools.site, without=record.lent.names)
    record.keep(
        commit=kept.commit,
        commits=kept.commits,
        files_changed=kept.files,
        lines_added=kept.added,
        lines_removed=kept.removed,
    )
    for note in kept.notes:
        record.tell("work", note)
    if kept.commits:
        record.keep(withheld=await _spilled(record))
        record.keep(check_after=await _check_after(record))
    record.listen()
    record.keep(cut=record.run.cut or record.wanted())
    judgement = judge(_evidence(record))
    if _may_fix(record, judgement):
        record.keep(fixes=record.run.fixes + 1)
        record.tell("check after", f"red; back to the agent ({record.run.fixes} of {tools.fix_attempts})")
        record.move(RunEvent.START)
        return
    if kept.commits:
        await _publish(record)
        await _say_merge(record)
    if _has_more_to_do(record, judgement):
        record.move(RunEvent.START)
        return
    if judgement.move == RunEvent.PAUSE:
        _pause(record, judgement)
    else:
        record.move(judgement.move, verdict=judgement.verdict, reason=judgement.reason)


def _pause(record: Record, judgement: Judgement) -> None:
    """The run comes to wait: for what, by which limit, and its question."""
    tools, run, totals, verdict = record.tools, record.run, record.totals(), judgement.verdict
    spent = totals.spent + totals.uncertain
    cost = going_on(tools.ledger, run, record.plan.card, thinking=record.plan.route.thinking_tokens or 0)
    own = verdict != Verdict.BUDGET_EXHAUSTED or at_its_cap(cap_of(run), spent, cost.least)
    short = None if own else shortage(tools.ledger, run, cost.least, tokens=cost.tokens)
    record.move(
        RunEvent.PAUSE,
        verdict=verdict,
        reason=f"paused at a limit that it shares: {short.told}" if short else judgement.reason,
        waits_for=waits_for(verdict, short),
        opens_at=short.opens_at if short else None,
        question=question_of(
            run,
            verdict,
            cost,
            offers=tools.offers,
            spent=spent,
            now=tools.clock(),
            expires_s=tools.waiting_expires_s,
            short=short,
        ),
    )


def _has_more_to_do(record: Record, judgement: Judgement) -> bool:
    """Whether somebody said something when the agent had ended already, in its own way."""
    ended_by_itself = record.run.end is not None and record.run.end.kind == "finished" and not record.run.cut
    return ended_by_itself and judgement.move != RunEvent.PAUSE and bool(record.messages())


async def _check_after(record: Record) -> Check:
    """The check of the work; who interrupts does not wait for it, and the run says that it was not checked."""
    if record.run.cut not in {"paused", "stopped"} and not record.wanted():
        record.checking = asyncio.create_task(checked(record, "check after", limit_s=record.tools.check_s))
        try:
            return await record.checking
        except asyncio.CancelledError:
            if not record.interrupts:
                raise
        finally:
            record.checking = None
    record.tell("check after", "not checked: interrupted")
    return Check(result="not_run")


async def _publish(record: Record) -> None:
    """The branch goes into the user's own repository; where it cannot, it is still in the mirror, and we say so."""
    if record.run.withheld:
        record.tell("branch", record.run.withheld)
        return
    if reason := await record.tools.tree.publish(record.run):
        record.tell("branch", f"{record.run.branch} is in the mirror only: {reason}")


async def _spilled(record: Record) -> str:
    """Why its branch must not leave the mirror: what was lent to the run stands in it. Empty = it may."""
    if not record.lent.names and not any(record.lent.scrubber):
        return ""
    diff, paths = await record.tools.tree.changes(record.run)
    return await asyncio.to_thread(spilled, record.lent, diff=diff, paths=paths)


async def _say_merge(record: Record) -> None:
    """Whether the branch that it started from moved meanwhile, and if its work still merges."""
    if said := await record.tools.tree.moved(record.run):
        record.keep(merge=said)
        record.tell("base", said)


def _evidence(record: Record) -> Evidence:
    """Everything that was seen."""
    run, totals = record.run, record.totals()
    return Evidence(
        end=run.end or AgentEnd(kind="crashed", message="crewcap was ended while the agent worked"),
        cut=run.cut,
        runaway=run.runaway,
        refused_for_money=totals.refused - run.refused_before,
        turns=totals.requests,
        max_turns=run.max_turns + run.turns_before if run.max_turns else 0,
        provider_frozen=run.frozen,
        commits=run.commits,
        check=run.check_after.result,
    )


def _may_fix(record: Record, judgement: Judgement) -> bool:
    """Whether a red check goes back: the agent ended by itself, and attempts and turns are left."""
    attempts_left = record.run.fixes < record.tools.fix_attempts
    return judgement.verdict == Verdict.CHECK_FAILED and attempts_left and not record.interrupts
