"""`crewcap stop`: end a run and keep its work."""

from __future__ import annotations

from dataclasses import replace

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import find_one
from crewcap.core.runs import AT_WORK, OPEN_STATES, Run, RunEvent, RunState, Verdict, move
from crewcap.errors import UsageError
from crewcap.runner.access import end_keys
from crewcap.runner.ownership import is_driven
from crewcap.runner.person import login_here


@click.command(epilog="Example: crewcap stop fix-login.1")
@click.argument("run", default="")
@click.option("--all", "everything", is_flag=True, help="Every run that is not at its end.")
@common
@with_call
def stop(call: Call, *, run: str, everything: bool) -> None:
    """Stop a run: its agent ends, its branch, session and workspace are kept."""
    if everything:
        chosen = [] if call.app.is_new else list(call.app.runs.list(limit=10_000, open_only=True))
    else:
        chosen = [find_one(call, run)]
        if chosen[0].state not in OPEN_STATES:
            raise UsageError(
                f"{chosen[0].name} is at its end: {chosen[0].state}", help="crewcap runs --open lists the others"
            )
    stopped = [_stop(call, one) for one in chosen]
    if call.as_json:
        call.emit(stopped)
    elif not stopped:
        call.note("nothing is open")


def _stop(call: Call, run: Run) -> dict[str, str]:
    """Ask the process that drives it, or close the book on a run that nobody drives."""
    if is_driven(run) or (run.hosted and run.state in AT_WORK):
        call.app.runs.say(run.id, "stop", by=login_here())
        what = "asked to stop"
    else:
        end_keys(call.app.ledger, run)
        call.app.runs.save(_closed(call, run))
        call.app.runs.log(run.id, "state", "stopped by hand")
        what = "stopped"
    if not call.as_json:
        call.out(f"{run.name}  {what}; its work is kept" + (f" on branch {run.branch}" if run.commits else ""))
    return {"run": run.name, "result": what}


def _closed(call: Call, run: Run) -> Run:
    """The run at its end."""
    state = RunState.FINISHING if run.state == RunState.RUNNING else run.state
    if state != run.state:
        run = replace(run, state=state)
        call.app.runs.save(run)
    return replace(
        run,
        state=move(state, RunEvent.STOP),
        verdict=run.verdict or Verdict.CANCELLED,
        reason=run.reason or "stopped by hand",
        ended_at=call.clock(),
    )
