"""`crewcap status`: what came of the night, what needs you, what is under way and comes next, what is left to spend."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.screen.when import in_zone, shown, shown_text
from crewcap.core.harmless import one_line

if TYPE_CHECKING:
    from datetime import tzinfo

    from crewcap.cli.night.picture import OpenBatch, Picture
    from crewcap.core.runs import Run

_SINCE = re.compile(r"(\d{1,4})([mhd])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_NAME = 22  # columns
_SHOWN = 5  # schedules


@click.command(epilog="Example: crewcap status --since 12h")
@click.option("--since", default="12h", show_default=True, help="How far back: 30m, 12h, 7d.")
@common
@with_call
def status(call: Call, *, since: str = "12h") -> None:
    """What came of the night, what needs you, what is under way, what is left to spend.

    Green are runs whose work passed the project's own check. The worst case is what open runs may still cost together,
    within the budgets that they share.
    """
    from crewcap.cli.night.picture import Picture, look  # noqa: PLC0415  (this and the next: not for --help)
    from crewcap.cli.screen.figures import NARROW, Screen, wrap  # noqa: PLC0415

    now = call.clock()
    began = now - _span(since)
    seen = Picture(since=began, now=now) if call.app.is_new else look(call, began)
    if call.as_json:
        call.emit(_object(seen))
    elif call.app.is_new:
        call.note(f"nothing has run in {call.home.root} yet; crewcap run -p '...' starts")
    else:
        screen = Screen.of(sys.stdout, call.environ)
        lines = screen.lines(_lines(seen))
        for line in lines:
            for part in wrap(line, screen.columns, indent="  ") if screen.columns < NARROW else [line]:
                call.out(part)


def _span(text: str) -> timedelta:
    """A stretch of time as people write it."""
    match = _SINCE.match(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a stretch of time; write 30m, 12h or 7d", param_hint="--since")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _lines(seen: Picture) -> Iterator[str]:
    """The picture in words: what stands still, the morning line, and then the most urgent first."""
    from crewcap.cli.night.morning import morning_line  # noqa: PLC0415  (not for --help)
    from crewcap.cli.screen.figures import many  # noqa: PLC0415

    yield from (f"FROZEN {stop.provider}: {stop.why}; {stop.help}" for stop in seen.stops)
    yield morning_line(seen.morning, since=seen.since, now=seen.now, zone=seen.zone)
    if seen.waiting:
        yield f"NEEDS YOU {len(seen.waiting)}"
        yield from (line for run in seen.waiting for line in _needs(run, seen))
    if seen.resting:
        yield f"WAITING {len(seen.resting)}   for what comes back by itself"
        yield from (f"  {run.name:<{_NAME}} {_why(run, seen.zone)}" for run in seen.resting)
    yield from _under_way(seen)
    if seen.batches:
        yield f"BATCHES {len(seen.batches)}"
        yield from (line for one in seen.batches for line in _batch(one, seen.zone))
    yield from _service(seen)
    for one in seen.balances:
        yield f"  {one.scope} {one.window:<6} {one.spent + one.uncertain} of {one.limit}, {one.left} left"
    if seen.uncertain:
        yield f"UNCERTAIN {many(seen.uncertain, 'hold')} whose cost nobody proved; crewcap ledger reconcile"


def _needs(run: Run, seen: Picture) -> Iterator[str]:
    """What a run asks, and the cheapest answer."""
    from crewcap.core.questions import resume_command  # noqa: PLC0415  (not for --help)

    asked = run.question if _is_asking(run) else None
    yield f"  {run.name:<{_NAME}} {_why(run, seen.zone)}" + (f": {asked.text}" if asked else "")
    until = f"; until {shown(asked.expires_at, seen.zone)}" if asked and asked.expires_at else ""
    choices = f"   (or {', '.join(asked.choices)}{until})" if asked else ""
    yield f"  {'':<{_NAME}} {resume_command(run)}{choices}"


def _is_asking(run: Run) -> bool:
    """Whether its question is open."""
    return run.state == "waiting" and run.question is not None and run.question.is_open


def _under_way(seen: Picture) -> Iterator[str]:
    """Queued and live runs, and what all that is open may still cost."""
    from crewcap.cli.runs.view import standing  # noqa: PLC0415  (not for --help)

    if seen.queued:
        yield f"QUEUED {len(seen.queued)}"
        yield from (f"  {run.name:<{_NAME}} {standing(run, seen.zone) or 'about to start'}" for run in seen.queued)
    worst = f"   worst case if all goes wrong: {seen.worst_case}" if seen.live or seen.worst_case else ""
    yield f"LIVE {len(seen.live)}{worst}"
    yield from (_live(run, seen) for run in seen.live)


def _live(run: Run, seen: Picture) -> str:
    from crewcap.cli.runs.view import cost_of  # noqa: PLC0415  (this and the next: not for --help)
    from crewcap.cli.screen.figures import fit  # noqa: PLC0415

    totals = seen.totals[run.id]
    money = f"{cost_of(totals)} of {run.cap}, turn {totals.requests}"
    return f"  {run.name:<{_NAME}} {run.state:<10} {money}   {fit(one_line(run.issue.title), 40)}"


def _batch(one: OpenBatch, zone: tzinfo) -> Iterator[str]:
    """How far it is, and who goes on with it."""
    job, said = one.view.job, one.view
    cost = said.sum("spent") + said.sum("uncertain")
    held = f", {held} held" if (held := said.sum("held")) else ""
    yield f"  {job.name:<{_NAME}} {said.state} {said.done}/{said.sent}, {cost} of {job.cap}{held}"
    rest = "" if one.is_worked_on else f"; nobody collects it: crewcap batch resume {job.name}"
    yield f"  {'':<{_NAME}} since {shown(job.created_at, zone)}{rest}"


def _service(seen: Picture) -> Iterator[str]:
    """Who carries out what is queued and what is due; said also where nobody does and somebody should."""
    from crewcap.cli.screen.figures import many  # noqa: PLC0415  (not for --help)

    if seen.presence is not None and seen.presence.pid:
        yield f"SERVING process {seen.presence.pid} since {shown_text(seen.presence.since, seen.zone)}"
    elif seen.is_served:
        yield f"SERVING {many(seen.workers, 'worker')} elsewhere" if seen.workers else "SERVING it starts, or ends"
    elif seen.ticks or seen.idle:
        wanting = [f"{many(len(seen.ticks), 'schedule')} set"] if seen.ticks else []
        wanting += [f"{many(seen.idle, 'run')} queued"] if seen.idle else []
        yield f"NOT SERVING   {', '.join(wanting)}, and nobody carries them out; crewcap serve"
    for at, name in seen.ticks[:_SHOWN]:
        yield f"  next {shown(at, seen.zone)}  {name}"
    for tick in seen.skipped[:_SHOWN]:
        what, _, why = tick.note.partition(": ")
        yield f"  {what} {shown(tick.at, seen.zone)}  {tick.schedule}" + (
            f": {one_line(why, limit=120)}" if why else ""
        )


def _why(run: Run, zone: tzinfo) -> str:
    """Why a run stands still."""
    from crewcap.core.runs import RunState  # noqa: PLC0415

    return (
        in_zone(one_line(run.reason, limit=120), zone)
        if run.state == RunState.WAITING
        else f"cut short while {run.state}"
    )


def _object(seen: Picture) -> dict[str, object]:
    """The picture for machines; fields are only ever added."""
    morning, presence = seen.morning, seen.presence
    counts = ("done", "green", "unchecked", "paused", "failed", "stopped", "cut_short")
    waiting, moving = (*seen.waiting, *seen.resting), (*seen.queued, *seen.live)
    return {
        "since": seen.since.isoformat(),
        "morning": {name: getattr(morning, name) for name in counts} | {"spent_usd": morning.spent.exact()},
        "waiting": [_waiting(run, needs_you=run in seen.waiting) for run in waiting],
        "queued": [_queued(run) for run in seen.queued],
        "live": [{"run": run.name, "state": run.state.value} for run in moving],
        "ended": [{"run": run.name, "verdict": run.verdict.value if run.verdict else None} for run in seen.ended],
        "ended_cost_usd": seen.ended_cost.exact(),
        "worst_case_usd": seen.worst_case.exact(),
        "uncertain_holds": seen.uncertain,
        "frozen": [stop.as_json() for stop in seen.stops],
        "batches": [one.view.as_json() | {"is_worked_on": one.is_worked_on} for one in seen.batches],
        "serve": {"pid": presence.pid, "since": presence.since, "url": presence.url} if presence else None,
        "workers": seen.workers or int(presence is not None and presence.worker_pid > 0),
        "next": [{"at": at.isoformat(), "schedule": name} for at, name in seen.ticks],
        "skipped": [{"at": one.at.isoformat(), "schedule": one.schedule, "why": one.note} for one in seen.skipped],
        "budgets": [
            {"scope": one.scope, "window": one.window, "limit_usd": one.limit.exact(), "left_usd": one.left.exact()}
            for one in seen.balances
        ],
    }


def _waiting(run: Run, *, needs_you: bool) -> dict[str, object]:
    from crewcap.cli.runs.view import asked_json  # noqa: PLC0415  (this and the next: not for --help)
    from crewcap.core.questions import resume_command  # noqa: PLC0415

    return {
        "run": run.name,
        "reason": _why(run, UTC),
        "needs_you": needs_you,
        "waits_for": run.waits_for or None,
        "question": asked_json(run),
        "resume": resume_command(run),
    }


def _queued(run: Run) -> dict[str, object]:
    opens_at = run.opens_at.isoformat() if run.opens_at else None
    return {"run": run.name, "queued_for": run.queued_for, "position": run.position or None, "opens_at": opens_at}
