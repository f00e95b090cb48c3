"""`crewcap runs`: every run, newest first."""

from __future__ import annotations

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import as_json, cost_of, totals_of
from crewcap.core.runs import Run


@click.command(epilog="Example: crewcap runs --limit 10")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--open", "open_only", is_flag=True, help="Only runs that are not at their end.")
@click.argument("stray", required=False)
@common
@with_call
def runs(call: Call, *, limit: int, open_only: bool, stray: str | None) -> None:
    """List runs, newest first."""
    if stray:
        raise click.UsageError(f"`crewcap runs` lists runs; did you mean `crewcap run {stray}`?")
    found = call.app.runs.list(limit=limit, open_only=open_only) if call.home.ledger.exists() else []
    if call.as_json:
        call.emit([as_json(call, run, totals_of(call, run)) for run in found])
        return
    if not found:
        call.note("no runs yet; crewcap run -p '...' starts one")
    for run in found:
        call.out(_line(call, run))


def _line(call: Call, run: Run) -> str:
    """One run on one line: name, state, money, title."""
    cost = cost_of(totals_of(call, run)).show()
    outcome = run.verdict.value if run.verdict else ""
    return f"{run.name:<24} {run.state.value:<10} {outcome:<17} {cost:>8} of {run.cap.show():<8} {run.issue.title[:60]}"
