"""From queued to running: workspace, setup and baseline check; nothing here can cost money yet."""

from __future__ import annotations

from crewcap.core.runs import Check, RunEvent, Verdict
from crewcap.runner import project, prompt
from crewcap.runner.record import Record


async def prepare(record: Record) -> None:
    """Everything that must hold before the first paid request."""
    tools = record.tools
    taken = await tools.tree.take(record.run)
    record.keep(base=taken.base, base_branch=taken.base_branch, branch=taken.branch)
    laid = await tools.tree.lay_out(record.run, tools.site)
    record.tell("workspace", f"{laid.files:,} files, branch {laid.branch}")
    record.report()
    if not await _set_up(record):
        return
    before = await checked(record, "check before")
    record.keep(check_before=before)
    record.move(RunEvent.START)


async def checked(record: Record, name: str) -> Check:
    """Run the project's own check, and say what it said; `not_run` is said aloud too."""
    command = prompt.check_of(record.plan)
    if not command:
        record.tell(name, "not checked: no check is set for this repository")
        return Check(result="not_run")
    check = await project.check(record.tools.rooms, command, limit_s=record.tools.check_s)
    record.tell(name, check.summary)
    return check


async def _set_up(record: Record) -> bool:
    """Run the project's setup; a failure ends the run before any paid request."""
    command = record.plan.project.setup
    if not command:
        return True
    done = await project.set_up(record.tools.rooms, command, limit_s=record.tools.setup_s)
    if not done.failed:
        record.tell("setup", f"{command}: done in {done.seconds:.0f} s")
        return True
    record.tell("setup", f"{command}: {done.failed}")
    record.log("note", f"setup said: {done.tail}")
    reason = f"setup `{command}` failed ({done.failed}): {done.tail[-200:]}"
    record.move(RunEvent.FAIL, verdict=Verdict.SETUP_FAILED, reason=reason)
    return False
