"""A bare `crewcap`: the status of a home with runs, else four lines that end in the demo; for machines, the status."""

from __future__ import annotations

import click

from crewcap.cli.context import make_call

_LINES = """\
crewcap runs coding agents unattended, on your own keys, under a cap that holds.
  crewcap run -p "fix the failing test"     a branch with the fix, at most $5
  crewcap exec --cap 3 -- claude -p "..."   any agent, capped
  crewcap demo"""


def welcome(ctx: click.Context) -> None:
    """Say what there is to say without a command."""
    call = make_call(ctx.obj or {})
    ctx.call_on_close(call.close)
    if not call.as_json and (call.app.is_new or not call.app.runs.list(limit=1)):
        call.out(_LINES)
        return
    from crewcap.cli import root  # noqa: PLC0415  (the table imports this file late as well)

    status = root.get_command(ctx, "status")
    if status is not None:
        ctx.invoke(status)
