"""`crewcap show`: everything about one run."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import as_json, cost_of, find_one, is_cut_short, standing, totals_of, wall_seconds
from crewcap.cli.screen.when import in_zone
from crewcap.core.budget import Scope
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.errors import CrewcapError

if TYPE_CHECKING:
    from crewcap.cli.live.opening import Opening


@click.command(epilog="Example: crewcap show fix-login.1 --json")
@click.argument("run", default="")
@click.option("--network", is_flag=True, help="Every host it reached or was refused, and what to paste into `hosts`.")
@common
@with_call
def show(call: Call, *, run: str, network: bool) -> None:
    """Show one run; RUN is a name, a unique prefix, or nothing for the latest."""
    found = find_one(call, run)
    if network:
        _show_network(call, found)
        return
    if call.as_json:
        from crewcap.cli.money.books import makeup_of  # noqa: PLC0415
        from crewcap.cli.money.report_rows import makeup_object  # noqa: PLC0415

        parts = makeup_object(makeup_of(call, Scope(f"run:{found.id}")))
        more = {"waited_seconds": _waited_s(call, found), "input_parts": parts}
        call.emit({**as_json(call, found, totals_of(call, found)), **more})
        return
    for line in _lines(call, found):
        call.out(line)


def _show_network(call: Call, run: Run) -> None:
    from crewcap.cli.runs.network_view import network_json, network_lines  # noqa: PLC0415  (only this option needs it)
    from crewcap.cli.screen.figures import Screen  # noqa: PLC0415
    from crewcap.workspaces.egress.log import NAME, read_log  # noqa: PLC0415

    connections = read_log(call.home.run(run.id) / NAME)
    is_watched = run.sandbox != "unconfined"
    if call.as_json:
        call.emit(network_json(run.name, connections, is_watched=is_watched))
        return
    screen = Screen.of(sys.stdout, call.environ)
    columns = screen.columns if screen.is_terminal else None
    for line in network_lines(run.name, connections, columns, is_watched=is_watched):
        call.out(line)


def _lines(call: Call, run: Run) -> list[str]:
    """How it began, and how it ended or stands."""
    from crewcap.cli.live.closing import Closing, closing_lines  # noqa: PLC0415  (the screen's parts)
    from crewcap.cli.live.opening import opening_lines  # noqa: PLC0415
    from crewcap.cli.live.run_screen import caching  # noqa: PLC0415
    from crewcap.cli.money.past import zone_of  # noqa: PLC0415
    from crewcap.cli.runs.needs import needs_of  # noqa: PLC0415
    from crewcap.cli.screen.figures import Screen  # noqa: PLC0415

    columns = Screen.of(sys.stdout, call.environ).columns
    head = opening_lines(_opening(call, run), columns)
    if is_cut_short(run):
        again = f"crewcap resume {run.name}   or   crewcap stop {run.name}"
        return [*head, f"  {run.state}   cut short: the process that drove it is gone", f"  next      {again}"]
    if run.state in OPEN_STATES - {RunState.WAITING}:
        why = standing(run, zone_of(call)) or run.reason
        return [*head, f"  {run.state}   {why}".rstrip(), f"  next      crewcap logs -f {run.name}"]
    totals = totals_of(call, run)
    wall_s = wall_seconds(run, call.clock())
    needs = needs_of(call, run, spent=cost_of(totals))
    told = replace(run, reason=in_zone(run.reason, zone_of(call)))
    waited_s = _waited_s(call, run)
    closing = Closing(run=told, totals=totals, wall_s=wall_s, waited_s=waited_s, needs=needs, **caching(call, run))
    return [*head, "", *closing_lines(closing, columns)]


def _waited_s(call: Call, run: Run) -> float:
    from crewcap.cli.live.rests import waited_seconds  # noqa: PLC0415  (with the rest of the screen's parts)

    return waited_seconds(run, call.app.runs.story(run.id), call.clock())


def _opening(call: Call, run: Run) -> Opening:
    """The head as the run itself had it; where its repository is gone, without the hosts that setup may reach."""
    from crewcap.agents import AGENTS  # noqa: PLC0415  (only here)
    from crewcap.cli.live.opening import Opening, walls  # noqa: PLC0415
    from crewcap.runner.grounds import repository_of  # noqa: PLC0415

    title = AGENTS[run.agent]().title if run.agent in AGENTS else run.agent
    try:
        project = repository_of(call.app, run).project
    except CrewcapError:
        project = None
    return Opening(run=run, agent=f"{title} {run.agent_version}", sandbox=walls(run.sandbox, project))
