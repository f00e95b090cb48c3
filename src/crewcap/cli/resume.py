"""`crewcap resume`: a run that waits, or that was cut short, goes on in its own session, with more money or a word."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_options import Cap
from crewcap.cli.run_view import cost_of, find_one, is_cut_short, totals_of
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunEvent, RunState, Verdict, move
from crewcap.errors import MoneyRefused, UsageError


@click.command(epilog="Example: crewcap resume fix-login.1 --add 2")
@click.argument("run", default="")
@click.option("--add", type=Cap(), help="Raise the run's cap by this many dollars.")
@click.option("-m", "--message", default="", metavar="TEXT", help="What the agent is told; by default to go on.")
@common
@with_call
def resume(call: Call, *, run: str, add: Money | None, message: str) -> None:
    """Go on with a run that waits or was cut short: the same session, the same workspace, a new key.

    The agent's context is sent again and, after a pause of more than five minutes, paid for again.
    """
    from crewcap.cli.run import told_status  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.cli.run_job import drive, prepare_again  # noqa: PLC0415

    found = _raised(call, find_one(call, run), add or ZERO)
    job = prepare_again(call, found)
    ended = asyncio.run(drive(call, job, again=lambda: _going_on(call, found), say=message))
    click.get_current_context().exit(told_status(call, ended))


def _raised(call: Call, run: Run, add: Money) -> Run:
    """The run with its new cap; refused where somebody drives it, it is over, or nothing would be left to spend."""
    if run.state != RunState.WAITING and not is_cut_short(run):
        raise UsageError(f"{run.name} does not wait: it is {run.state}", help=f"crewcap show {run.name}")
    left = run.cap + add - cost_of(totals_of(call, run))
    if run.verdict == Verdict.BUDGET_EXHAUSTED and not add:
        raise MoneyRefused(
            f"{run.name} used {cost_of(totals_of(call, run))} of {run.cap} and its next request does not fit",
            help=f"crewcap resume {run.name} --add 2",
        )
    if left.nano <= 0:
        raise MoneyRefused(f"{run.name} would have nothing to spend", help=f"crewcap resume {run.name} --add 2")
    return replace(run, cap=run.cap + add, cap_because=f"raised by {add}" if add else run.cap_because)


def _going_on(call: Call, run: Run) -> Run:
    """The run as it is stored from now on; its last end is history. One that was cut short goes on where it was."""
    if run.state != RunState.WAITING:
        call.app.runs.save(run)
        call.app.runs.log(run.id, "state", f"resumed while {run.state}, where it was cut short")
        return run
    again = replace(
        run, state=move(run.state, RunEvent.RESUME), verdict=None, reason="", end=None, cut="", fixes=0, ended_at=None
    )
    call.app.runs.save(again)
    call.app.runs.log(run.id, "state", f"resumed with a cap of {run.cap}")
    return again
