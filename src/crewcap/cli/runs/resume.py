"""`crewcap resume`: a run that came to rest goes on in its own session, with more money or a word of yours."""

from __future__ import annotations

from dataclasses import replace

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.options import Cap
from crewcap.cli.runs.view import cost_of, find_one, is_cut_short, totals_of
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import AT_WORK, Run
from crewcap.errors import MoneyRefused, UsageError


@click.command(epilog="Example: crewcap resume fix-login.1 --add 2")
@click.argument("run", default="")
@click.option("--add", type=Cap(), help="Raise the run's cap by this many dollars.")
@click.option("-m", "--message", default=None, metavar="TEXT", help="What the agent is told; by default to go on.")
@common
@with_call
def resume(call: Call, *, run: str, add: Money | None, message: str | None) -> None:
    """Go on with a run: one that waits, was cut short, or has ended and is to do more.

    It goes on in the same session and the same workspace, on a new key. Its context is sent again, and after a pause
    of more than five minutes paid for again: what that costs is said. A message to a run that is at work is
    told to its agent there and then.
    """
    if message is not None and not message.strip():
        raise UsageError("the message is empty", help='crewcap resume RUN -m "also cover zero", or without -m')
    found, message = find_one(call, run), message or ""
    if message and not add and found.state in AT_WORK and not is_cut_short(found):
        _tell(call, found, message)
        return
    if is_cut_short(found):
        status = _go_on_with(call, found, add or ZERO, message)
    else:
        status = _resume(call, found, add or ZERO, message)
    click.get_current_context().exit(status)


def _tell(call: Call, run: Run, message: str) -> None:
    """Leave a word for the agent at work."""
    from crewcap.runner.person import login_here  # noqa: PLC0415

    call.app.runs.say(run.id, "say", message, by=login_here())
    if call.as_json:
        call.emit({"run": run.name, "result": "told"})
    else:
        call.out(f"{run.name}  is at work; its agent is told at once if it can be, else at its next start")


def _resume(call: Call, run: Run, add: Money, message: str) -> int:
    """Back into the queue: a worker's where one is at work on this home, else carried out here."""
    from crewcap.cli.night.alive import is_served, place_here  # noqa: PLC0415  (heavy, as the others; not for --help)
    from crewcap.cli.runs.hosted import follow_hosted  # noqa: PLC0415
    from crewcap.cli.runs.job import prepare_again  # noqa: PLC0415
    from crewcap.cli.runs.run import carry_out  # noqa: PLC0415
    from crewcap.runner import resuming  # noqa: PLC0415
    from crewcap.runner.person import login_here  # noqa: PLC0415
    from crewcap.runner.worker.fencing import has_workspace  # noqa: PLC0415

    resuming.refuse_resume(run, has_workspace=has_workspace(call.home, call.app.runs, run))
    add = add or resuming.given(run)
    resuming.refuse_second_answer(run, add)
    add = _within_issue(call, run, add)
    job = prepare_again(call, run)
    cost = resuming.afford(call.app.ledger, run, job.plan, add)
    hosted = is_served(call, run)

    def again() -> Run:
        runs, where = call.app.runs, place_here(call) if hosted and not run.hosted else ""
        by = login_here()
        resumed = resuming.resume(runs, run, add=add, by=by, hosted=hosted, message=message, place=where)
        if cost.again:  # said when the answer was taken: whoever comes second pays nothing
            words = f"its context of {cost.context:,} tokens is read again, for about {cost.again.show()}"
            call.note(f"{run.name}  {words}")
        return resumed

    if hosted:
        return follow_hosted(call, again())
    raised = replace(job, plan=replace(job.plan, cap=resuming.cap_of(run) + add))
    return carry_out(call, raised, again=again)  # answered when its gateway is there: what cannot begin stays as it is


def _within_issue(call: Call, run: Run, add: Money) -> Money:
    """What of it can be spent at all; said where that is less."""
    from crewcap.runner import resuming  # noqa: PLC0415  (heavy; not for --help)

    most = resuming.within_issue(call.app.ledger, run, add)
    if most < add:
        call.note(f"{run.name}  only {most} of {add} is added: that is all that its issue's budget leaves")
    return most


def _go_on_with(call: Call, run: Run, add: Money, message: str) -> int:
    """One whose process died is gone on with where it was."""
    from crewcap.cli.runs.job import prepare_again  # noqa: PLC0415
    from crewcap.cli.runs.run import carry_out  # noqa: PLC0415  (heavy; not for --help)

    add = _within_issue(call, run, add)
    raised = replace(run, cap=run.cap + add, cap_because=f"raised by {add}" if add else run.cap_because)
    if (raised.cap - cost_of(totals_of(call, run))).nano <= 0:
        raise MoneyRefused(f"{run.name} would have nothing to spend", help=f"crewcap resume {run.name} --add 2")
    job = prepare_again(call, raised)

    def again() -> Run:
        call.app.runs.save(raised)
        call.app.runs.log(raised.id, "state", f"resumed while {raised.state}, where it was cut short")
        return raised

    return carry_out(call, job, again=again, say=message)
