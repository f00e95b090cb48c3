"""From queued to running: workspace, setup and baseline check; nothing here can cost money yet."""

from __future__ import annotations

import asyncio

from crewcap.core.runs import Check, RunEvent, Verdict
from crewcap.runner import project, prompt
from crewcap.runner.fitting import furnish, recall
from crewcap.runner.record import Record
from crewcap.runner.setup import set_up

_SHOWN = 20


def begin(record: Record) -> None:
    """Out of the queue: from here on somebody works on it."""
    changes = {"queued_for": "", "position": 0, "opens_at": None}
    record.move(RunEvent.PREPARE, started_at=record.run.started_at or record.tools.clock(), **changes)


async def lay_out(record: Record) -> None:
    """Its workspace; one that stands from before the run came to rest is gone on with as it is."""
    tools = record.tools
    if record.run.is_prepared and tools.tree.is_there(tools.site):
        await tools.tree.take_over(tools.site)
        record.lent = await asyncio.to_thread(recall, tools.fitted)
        record.tell("workspace", f"as it was left, branch {record.run.branch}")
        record.move(RunEvent.START)
        return
    taken = await tools.tree.take(record.run)
    record.keep(base=taken.base, base_branch=taken.base_branch, branch=taken.branch, is_prepared=False)
    laid = await tools.tree.lay_out(record.run, tools.site)
    record.lent = await asyncio.to_thread(furnish, tools.fitted)
    record.tell("workspace", f"{laid.files:,} files, branch {laid.branch}")
    if tools.fitted.toolchains:
        record.tell("tools", "; ".join(tools.fitted.toolchains))
    for text in (*tools.fitted.said, *tools.fitted.wanting, *record.lent.said):
        record.tell("sandbox", text)
    record.is_laid_out = True
    record.report()


async def set_up_and_check(record: Record) -> None:
    """The project's setup and its baseline check, in the new workspace."""
    tools = record.tools
    if not await _set_up(record):
        return
    before = await checked(record, "check before", limit_s=min(tools.check_s, record.left_s))
    record.prepared_s += before.seconds
    record.keep(check_before=before)
    if not record.left_s:
        _out_of_time(record, project.IN_CHECK)
        return
    if left := await tools.tree.leave_out(tools.site):
        record.log("note", f"made by setup and check, and no part of the work: {', '.join(left[:_SHOWN])}")
    if record.run.commit:
        await _bring_back(record)
    record.move(RunEvent.START, is_prepared=True)


async def _bring_back(record: Record) -> None:
    """The work of an earlier start, whose workspace is gone or on another machine; after the check of its base."""
    run, tools = record.run, record.tools
    work = f"its work so far, commit {run.commit[:12]} of {run.branch}"
    if why := await tools.tree.bring_back(run, tools.site):
        record.tell("workspace", f"begins anew, without {work}: {why}")
        record.keep(commit="", commits=0, files_changed=0, lines_added=0, lines_removed=0)
        return
    record.tell("workspace", f"goes on from {work}; its session is gone, so its agent is told the task again")


async def checked(record: Record, name: str, *, limit_s: float) -> Check:
    """Run the project's own check, and say what it said; `not_run` is said aloud too."""
    command = prompt.check_of(record.plan)
    if not command:
        record.tell(name, "not checked: no check is set for this repository")
        return Check(result="not_run")
    check = await project.check(record.tools.rooms, command, limit_s=limit_s)
    record.tell(name, check.summary)
    return check


async def _set_up(record: Record) -> bool:
    """Run the project's setup; a failure ends the run before any paid request."""
    command = record.plan.project.setup
    if not command:
        return True
    limit_s = min(record.tools.setup_s, record.left_s)
    done = await set_up(record.tools.fitted, included=record.lent.names, limit_s=limit_s)
    record.prepared_s += done.seconds
    record.tell("setup", done.told)
    for note in done.notes:
        record.log("note", f"setup: {note}")
    if not done.failed and record.left_s:
        return True
    record.log("note", f"setup said: {done.tail}")
    if not record.left_s:
        _out_of_time(record, project.in_setup(command))
        return False
    told = done.asked or done.way_round
    if told:
        record.tell("setup", told)
    why = done.asked or "; ".join(filter(None, (done.tail[-200:], told)))
    reason = f"setup `{command}` failed ({done.failed}){': ' if why else ''}{why}"
    record.move(RunEvent.FAIL, verdict=Verdict.SETUP_FAILED, reason=reason)
    return False


def _out_of_time(record: Record, where: str) -> None:
    reason = project.out_of_time(record.run.timeout_s, where)
    record.move(RunEvent.FAIL, verdict=Verdict.TIMED_OUT, reason=reason)
