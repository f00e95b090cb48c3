"""`crewcap runs`: every run, newest first; with --watch, all of them while they work."""

from __future__ import annotations

import sys

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import as_json, is_cut_short, totals_of
from crewcap.cli.screen.figures import Screen


@click.command(epilog="Example: crewcap runs --watch")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--open", "open_only", is_flag=True, help="Only runs that are not at their end.")
@click.option("-w", "--watch", "is_watched", is_flag=True, help="All runs while they work, drawn anew every second.")
@click.argument("stray", required=False)
@common
@with_call
def runs(call: Call, *, limit: int, open_only: bool, is_watched: bool, stray: str | None) -> None:
    """List runs, newest first; or watch them, with what they may still cost together."""
    if stray:
        raise click.UsageError(f"`crewcap runs` lists runs; did you mean `crewcap run {stray}`?")
    if is_watched:
        from crewcap.cli.live.watch_runs import watch  # noqa: PLC0415  (only here)

        click.get_current_context().exit(watch(call, limit=limit, open_only=open_only))
    _list(call, limit=limit, open_only=open_only)


def _list(call: Call, *, limit: int, open_only: bool) -> None:
    """Every run on a line."""
    found = [] if call.app.is_new else call.app.runs.list(limit=limit, open_only=open_only)
    if call.as_json:
        call.emit([as_json(call, run, totals_of(call, run)) for run in found])
        return
    if not found:
        is_first = call.app.is_new or not (open_only and call.app.runs.list(limit=1))
        call.note("no runs yet; crewcap run -p '...' starts one" if is_first else "nothing is open")
        return
    from crewcap.cli.live.board import Row, list_lines  # noqa: PLC0415  (this and the next: not for --help)
    from crewcap.cli.money.past import zone_of  # noqa: PLC0415

    screen = Screen.of(sys.stdout, call.environ)
    zone = zone_of(call)
    rows = [Row(run=run, totals=totals_of(call, run), is_cut_short=is_cut_short(run), zone=zone) for run in found]
    for line in list_lines(rows, screen.columns, is_cut=screen.is_terminal):
        call.out(screen.shown(line))
