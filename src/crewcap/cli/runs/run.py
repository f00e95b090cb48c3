"""`crewcap run`: an issue or a prompt becomes a branch, under a cap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.options import read_issue, run_options
from crewcap.core.runs import EXIT_STATUS, Run, RunState, Verdict

if TYPE_CHECKING:
    from crewcap.runner.jobs import Job


@click.command(epilog="Example: crewcap run issues/fix-login.md --cap 2")
@click.argument("issue", required=False)
@run_options
@common
@with_call
def run(call: Call, /, *, issue: str | None, prompt: str | None, dry_run: bool, **options: Any) -> None:
    """Turn ISSUE (a .md file, or - for stdin) or a prompt into a branch of its own.

    The agent works unattended in a sandbox, on a private clone, through the metering gateway. What it did is checked
    by the project's own check and kept on a branch; your working folder is never touched.
    """
    read, tracker = read_issue(issue, prompt)
    from crewcap.cli.runs.job import prepare  # noqa: PLC0415  (heavy; not for --help, nor for what is no issue)

    job = prepare(call, read, tracker, _asked(options), repo=options["repo"])
    if dry_run:
        from crewcap.cli.runs.dry_run import show_plan  # noqa: PLC0415  (only here)

        show_plan(call, job)
        return
    from crewcap.cli.runs.hosted import hand_over, is_served  # noqa: PLC0415

    start = hand_over if is_served(call) else carry_out
    click.get_current_context().exit(start(call, job))


def carry_out(call: Call, job: Job, *, again: Callable[[], Run] | None = None, say: str = "") -> int:
    """Drive a run in this process, show how it goes, and tell whom the settings name; the exit status."""
    from crewcap.cli.night.telling import tell_of  # noqa: PLC0415
    from crewcap.cli.runs.job import drive  # noqa: PLC0415

    run = asyncio.run(drive(call, job, again=again, say=say))
    tell_of(call, run)
    return exit_status(run)


def exit_status(run: Run) -> int:
    """What the shell is told: the signal that ended it, that money said no (a pause counts), or the verdict."""
    if run.verdict == Verdict.CANCELLED and run.signal:
        return 128 + run.signal
    if run.state == RunState.WAITING and run.verdict == Verdict.PROVIDER_ERROR:
        return EXIT_STATUS[Verdict.BUDGET_EXHAUSTED]  # the provider's own limit: the run goes on when it is lifted
    return EXIT_STATUS[run.verdict or Verdict.AGENT_ERROR]


def _asked(options: dict[str, Any]) -> Any:
    """The options as what a person asked for."""
    from crewcap.runner.person import login_here  # noqa: PLC0415
    from crewcap.runner.plan import Asked  # noqa: PLC0415

    return Asked(
        agent=options["agent"],
        model=options["model"],
        effort=options["effort"] or "",
        cap=options["cap"],
        max_turns=options["max_turns"] or 0,
        timeout_s=options["timeout"] or 0,
        sandbox=options["sandbox"] or "",
        login=login_here(),
    )
