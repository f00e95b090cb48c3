"""The morning line: what came of the runs of a stretch of time, counted by our own check, and what it all cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from crewcap.cli.screen.when import shown
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunState

_NOON = 12
_A_NIGHT = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Morning:
    """Runs that came to rest, by how; a run counts once, as it stands now."""

    done: int = 0
    green: int = 0  # done, and our own check passed
    unchecked: int = 0  # done, and no check is set
    paused: int = 0
    failed: int = 0
    stopped: int = 0
    cut_short: int = 0
    spent: Money = ZERO  # by all runs in that time, also by those that are not over


def morning_of(ended: Iterable[Run], *, paused: int, cut_short: int, spent: Money) -> Morning:
    """Counted from the runs that ended."""
    runs = list(ended)
    done = [run for run in runs if run.state == RunState.DONE]
    return Morning(
        done=len(done),
        green=sum(run.check_after.result == "passed" for run in done),
        unchecked=sum(run.check_after.result == "not_run" for run in done),
        paused=paused,
        failed=sum(run.state == RunState.FAILED for run in runs),
        stopped=sum(run.state == RunState.STOPPED for run in runs),
        cut_short=cut_short,
        spent=spent,
    )


def morning_line(seen: Morning, *, since: datetime, now: datetime, zone: tzinfo) -> str:
    """`LAST NIGHT 14 done (12 green, 2 not checked), 1 paused, 1 failed, $31.20`."""
    checked = [f"{seen.green} green"] if seen.done else []
    checked += [f"{seen.unchecked} not checked"] if seen.unchecked else []
    parts = [f"{seen.done} done" + (f" ({', '.join(checked)})" if checked else "")]
    counts = (seen.paused, "paused"), (seen.failed, "failed"), (seen.stopped, "stopped"), (seen.cut_short, "cut short")
    parts += [f"{number} {what}" for number, what in counts if number]
    return f"{_heading(since, now, zone)} {', '.join(parts)}, {seen.spent.show()}"


def _heading(since: datetime, now: datetime, zone: tzinfo) -> str:
    """`LAST NIGHT` in the morning, for a stretch that began the day before; else since when."""
    began, here = since.astimezone(zone), now.astimezone(zone)
    if here.hour < _NOON and began.date() < here.date() and now - since <= _A_NIGHT:
        return "LAST NIGHT"
    return f"SINCE {shown(since, zone)}"
