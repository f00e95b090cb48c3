"""`crewcap logs`: a run's story, line by line, as it is written by whichever process drives the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import tzinfo

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.past import zone_of
from crewcap.cli.night.alive import is_stranded, outliving
from crewcap.cli.runs.view import find_one, is_cut_short, standing
from crewcap.cli.screen.figures import NARROW, Screen, wrap
from crewcap.cli.screen.pause import pause
from crewcap.cli.screen.when import in_zone
from crewcap.core.harmless import one_line
from crewcap.core.questions import resume_command
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.runner.ownership import is_driven
from crewcap.stores import LoggedEvent

_POLL_S = 0.3
_LAST_LOOKS = 7
_LONGEST = 2_000  # letters of a line, which the store cuts too
_INDENT = 18  # columns before what a line says


@click.command(epilog="Example: crewcap logs -f -n 20 fix-login.1")
@click.argument("run", default="")
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on until the run has ended; exit as it did.")
@click.option("-n", "--lines", type=click.IntRange(0), metavar="N", help="Only the last N lines of what is there.")
@common
@with_call
def logs(call: Call, *, run: str, is_followed: bool, lines: int | None) -> None:
    """Show a run's story; RUN is a name, a unique prefix, or nothing for the latest.

    Times are of the zone that budgets.timezone names. With -f it goes on through pauses, until the run has ended, and
    exits with the status that `crewcap run` has for such an end.
    """
    found = find_one(call, run)
    story = call.app.runs.story(found.id)
    _print(call, story if lines is None else story[len(story) - min(lines, len(story)) :])
    if is_followed:
        ended = follow(call, found, after=story[-1].seq if story else 0)
        click.get_current_context().exit(_status(ended))


def follow(call: Call, run: Run, *, after: int = 0) -> Run:
    """Print the story after a line of it until the run has ended, or nobody reads on; the run as it is then."""
    told, version = "", -1
    while call.has_reader:
        newest = call.app.runs.version()
        if newest != version:
            version = newest
            run = call.app.runs.get(run.id) or run  # before its story, so that nothing before its end is missed
            after = _print(call, call.app.runs.story(run.id, after=after)) or after
        if run.state not in OPEN_STATES:
            break
        told = _say_why_it_stands(call, run, told)
        pause(call, _POLL_S)
    _print_last_words(call, run, after=after)
    return run


def _print_last_words(call: Call, run: Run, *, after: int) -> None:
    """An end is stored first and told then: wait a little for whoever drives the run to tell it."""
    for _ in range(_LAST_LOOKS):
        story = call.app.runs.story(run.id, after=after)
        after = _print(call, story) or after
        if not is_driven(run) or any(event.kind == "state" for event in story):
            return
        pause(call, _POLL_S)


def _say_why_it_stands(call: Call, run: Run, told: str) -> str:
    """Say it once when nothing comes because the run stands still; what is known to have been said."""
    if is_cut_short(run):
        again = "its worker was ended; serve starts another one"
        why = f"{run.name} was cut short while {run.state}; crewcap show {run.name}"
        why = why if is_stranded(call, run) else f"{run.name}: {again}"
    elif run.state == RunState.WAITING:
        why = f"{run.name} waits: {standing(run, zone_of(call))}; {resume_command(run)}, or crewcap stop {run.name}"
    elif run.state == RunState.QUEUED and (waits_for := standing(run, zone_of(call))):
        why = f"{run.name} is queued: {waits_for}"
    elif pid := outliving(call, run):
        why = f"{run.name}: crewcap serve has ended; its worker (process {pid}) has this run still"
    else:
        return ""
    if why != told:
        call.note(f"{why} (following on)")
    return why


def _status(run: Run) -> int:
    """As `crewcap run` would have exited; 0 for a run that was left before its end."""
    from crewcap.cli.runs.run import exit_status  # noqa: PLC0415  (only here)

    if run.state in OPEN_STATES or (run.state == RunState.DONE and run.verdict is None):
        return 0
    return exit_status(run)


def _print(call: Call, story: Iterable[LoggedEvent]) -> int:
    """Print these; the newest one's number, 0 = there was none."""
    screen, zone, newest = Screen.of(sys.stdout, call.environ), zone_of(call), 0
    for event in story:
        newest = event.seq
        if call.as_json:
            call.emit(_object(event))
            continue
        for line in _lines(event, screen, zone):
            call.out(screen.shown(line))
    return newest


def _lines(event: LoggedEvent, screen: Screen, zone: tzinfo) -> Iterator[str]:
    """`02:14:07  agent   edit src/login.py`; on a terminal what is too long goes on below its beginning."""
    words, at = in_zone(one_line(event.text, limit=_LONGEST), zone), event.at.astimezone(zone)
    if not screen.is_terminal:
        yield f"{at:%H:%M:%S}  {event.kind:<7} {words}"
    elif screen.columns < NARROW:
        yield from wrap(f"{at:%H:%M} {event.kind} {words}", screen.columns, indent="  ")
    else:
        first, *rest = wrap(words, screen.columns - _INDENT) or [""]
        yield f"{at:%H:%M:%S}  {event.kind:<7} {first}"
        yield from (" " * _INDENT + line for line in rest)


def _object(event: LoggedEvent) -> dict[str, object]:
    return {"seq": event.seq, "at": event.at.isoformat(), "kind": event.kind, "text": event.text, **event.data}
