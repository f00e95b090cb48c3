"""`crewcap status`: what needs you, what is live, what came of the night, what is left to spend."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import cost_of, is_cut_short, totals_of
from crewcap.cli.screen import NARROW, Screen, fit, many, wrap
from crewcap.cli.troubles import Stop, troubles
from crewcap.core.budget import Balance
from crewcap.core.harmless import one_line
from crewcap.core.money import ZERO, Money, total
from crewcap.core.runs import OPEN_STATES, Run, RunState, Verdict

_SINCE = re.compile(r"(\d{1,4})([mhd])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that `status` shows, as values."""

    since: datetime
    waiting: Sequence[Run] = ()  # for somebody: for money, for an answer, or to be started again
    live: Sequence[Run] = ()
    ended: Sequence[Run] = ()
    ended_cost: Money = ZERO
    worst_case: Money = ZERO  # what the open runs may still cost, all together
    uncertain: int = 0
    balances: Sequence[Balance] = ()
    stops: Sequence[Stop] = ()  # providers that are not asked now


@click.command(epilog="Example: crewcap status --since 12h")
@click.option("--since", default="12h", show_default=True, help="How far back: 30m, 12h, 7d.")
@common
@with_call
def status(call: Call, *, since: str = "12h") -> None:
    """What needs you, what is live, last night, today against budgets."""
    began = call.clock() - _span(since)
    picture = Picture(since=began) if call.app.is_new else _look(call, began)
    if call.as_json:
        call.emit(_object(picture))
    elif call.app.is_new:
        call.note(f"nothing has run in {call.home.root} yet; crewcap run -p '...' starts")
    else:
        columns = Screen.of(sys.stdout, call.environ).columns
        for line in _lines(call, picture):
            for part in wrap(line, columns, indent="  ") if columns < NARROW else [line]:
                call.out(part)


def _span(text: str) -> timedelta:
    """A stretch of time as people write it."""
    match = _SINCE.match(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a stretch of time; write 30m, 12h or 7d", param_hint="--since")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _look(call: Call, since: datetime) -> Picture:
    """Read the books once."""
    runs = call.app.runs.list(limit=10_000)
    open_runs = [run for run in runs if run.state in OPEN_STATES]
    ended = [run for run in runs if run.ended_at is not None and run.state not in OPEN_STATES and run.ended_at >= since]
    waiting = [run for run in open_runs if run.state == RunState.WAITING or is_cut_short(run)]
    live = [run for run in open_runs if run not in waiting]
    return Picture(
        since=since,
        waiting=waiting,
        live=live,
        ended=ended,
        ended_cost=total([cost_of(totals_of(call, run)) for run in ended]),
        worst_case=total([_still(call, run) for run in live]),
        uncertain=len(call.app.ledger.uncertain_holds()),
        stops=troubles(call),
        balances=[
            one for one in call.app.ledger.all_balances() if not one.scope.startswith(("run:", "key:", "issue:"))
        ],
    )


def _still(call: Call, run: Run) -> Money:
    """What a run may still cost."""
    return Money(max(0, (run.cap - cost_of(totals_of(call, run))).nano))


def _lines(call: Call, seen: Picture) -> list[str]:
    """The picture in words, the most urgent first."""
    lines = [f"FROZEN {stop.provider}: {stop.why}; {stop.help}" for stop in seen.stops]
    if seen.waiting:
        lines.append(f"NEEDS YOU {len(seen.waiting)}")
        lines += [f"  {run.name:<22} {_why(run)}; crewcap show {run.name}" for run in seen.waiting]
    lines.append(
        f"LIVE {len(seen.live)}" + (f"   worst case if all goes wrong: {seen.worst_case}" if seen.live else "")
    )
    lines += [_live(call, run) for run in seen.live]
    green = sum(run.verdict == Verdict.FINISHED for run in seen.ended)
    lines.append(f"SINCE {seen.since:%Y-%m-%d %H:%M}  {len(seen.ended)} ended ({green} done), {seen.ended_cost}")
    lines += [
        f"  {one.scope} {one.window:<6} {one.spent + one.uncertain} of {one.limit}, {one.left} left"
        for one in seen.balances
    ]
    if seen.uncertain:
        lines.append(f"UNCERTAIN {many(seen.uncertain, 'hold')} whose cost nobody proved; crewcap ledger reconcile")
    return lines


def _why(run: Run) -> str:
    """Why a run needs somebody."""
    return one_line(run.reason, limit=120) if run.state == RunState.WAITING else f"cut short while {run.state}"


def _live(call: Call, run: Run) -> str:
    totals = totals_of(call, run)
    money = f"{cost_of(totals)} of {run.cap}, turn {totals.requests}"
    return f"  {run.name:<22} {run.state:<10} {money}   {fit(one_line(run.issue.title), 40)}"


def _object(seen: Picture) -> dict[str, object]:
    """The picture for machines."""
    return {
        "since": seen.since.isoformat(),
        "waiting": [{"run": run.name, "reason": _why(run)} for run in seen.waiting],
        "live": [{"run": run.name, "state": run.state.value} for run in seen.live],
        "ended": [{"run": run.name, "verdict": run.verdict.value if run.verdict else None} for run in seen.ended],
        "ended_cost_usd": seen.ended_cost.exact(),
        "worst_case_usd": seen.worst_case.exact(),
        "uncertain_holds": seen.uncertain,
        "frozen": [stop.as_json() for stop in seen.stops],
        "budgets": [
            {"scope": one.scope, "window": one.window, "limit_usd": one.limit.exact(), "left_usd": one.left.exact()}
            for one in seen.balances
        ],
    }
