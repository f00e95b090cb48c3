"""`crewcap logs`: a run's story, line by line, as it is written."""

from __future__ import annotations

import time

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import find_one, is_cut_short
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.stores import LoggedEvent

_POLL_S = 0.3


@click.command(epilog="Example: crewcap logs -f fix-login.1")
@click.argument("run", default="")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is at its end.")
@common
@with_call
def logs(call: Call, *, run: str, follow: bool) -> None:
    """Show a run's story; RUN is a name, a unique prefix, or nothing for the latest."""
    found = find_one(call, run)
    seen = _print(call, found, after=0)
    while follow and _goes_on(call, found):
        time.sleep(_POLL_S)
        seen = _print(call, found, after=seen)
    _print(call, found, after=seen)


def _goes_on(call: Call, run: Run) -> bool:
    """Whether more can come; a waiting run waits for people, and one that was cut short for its command."""
    now = call.app.runs.get(run.id)
    if not call.has_reader or now is None or is_cut_short(now):
        return False
    return now.state in OPEN_STATES - {RunState.WAITING}


def _print(call: Call, run: Run, *, after: int) -> int:
    """Print what came after a sequence number; the newest one seen."""
    for event in call.app.runs.story(run.id, after=after):
        after = event.seq
        if call.as_json:
            call.emit(_object(event))
        else:
            call.out(f"{event.at:%H:%M:%S}  {event.kind:<7} {event.text}")
    return after


def _object(event: LoggedEvent) -> dict[str, object]:
    return {"seq": event.seq, "at": event.at.isoformat(), "kind": event.kind, "text": event.text, **event.data}
