"""`crewcap runs`: every run, newest first."""

from __future__ import annotations

import sys

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import as_json, cost_of, totals_of
from crewcap.cli.screen import NARROW, Screen, fit, wrap
from crewcap.core.harmless import one_line
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
    found = [] if call.app.is_new else call.app.runs.list(limit=limit, open_only=open_only)
    if call.as_json:
        call.emit([as_json(call, run, totals_of(call, run)) for run in found])
        return
    if not found:
        call.note("no runs yet; crewcap run -p '...' starts one")
    columns = Screen.of(sys.stdout, call.environ).columns
    for run in found:
        for line in _lines(call, run, columns):
            call.out(line)


def _lines(call: Call, run: Run, columns: int) -> list[str]:
    """One run on one line: name, state, money, title; on a narrow screen the first three, broken between words."""
    cost = cost_of(totals_of(call, run)).show()
    outcome = run.verdict.value if run.verdict else ""
    if columns < NARROW:
        words = f"{run.name} {run.state.value} {outcome} {cost} of {run.cap.show()}"
        return wrap(words, columns, indent="  ")
    title = one_line(run.issue.title)
    row = f"{run.name:<24} {run.state.value:<10} {outcome:<17} {cost:>8} of {run.cap.show():<8} {fit(title, 60)}"
    return [row]
