"""Schedules: which of a schedule's due times are run, which are noted as missed, and when exactly each begins.

A *tick* is one due time. Ticks are reckoned elsewhere (`runner/worker/ticks.py`), told apart by the instant that the
cron line names, and stored once, so that of several workers one runs it; everything here is decided on values.

A tick begins at its instant and the schedule's *jitter*: a part of the span that rests on the schedule's name and the
tick alone, so every worker comes to the same. Whoever serves finds it at once (`PROMPT`). A machine that was restarted
finds it some minutes later, and it is on time still, up to `GRACE`, if no later tick has begun: what comes once a night
is not lost to a restart, and what comes every minute is not run four times after one. Every other tick is *late*:
nothing was serving. What is done about late ticks is `catch_up`:

    one     the newest of them is run, unless a tick that is on time is run anyway; the others are missed (the default)
    none    all of them are missed
    all     all of them are run, as far as the newest `MOST_CAUGHT_UP`

So of all ticks of one silence `one` runs one at the most. A tick that is on time is always run, as far as `overlap`
lets it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Literal

from crewcap.core.runs import RunState

CatchUp = Literal["one", "none", "all"]
Overlap = Literal["skip", "queue", "allow"]

GRACE = timedelta(minutes=5)
PROMPT = timedelta(seconds=30)  # some looks; two ticks whose jitter brings them together are both found so
MOST_CAUGHT_UP = 24
MOST_QUEUED = 10  # runs of a schedule one behind the other
NO_JITTER = timedelta()

NAMES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be done about ticks that have begun, oldest first."""

    run: tuple[datetime, ...] = ()
    missed: tuple[datetime, ...] = ()

    @property
    def last(self) -> datetime | None:
        """The newest tick that this settles; it is the next look's `last`."""
        return max((*self.run, *self.missed), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run of a schedule that has not ended."""

    name: str
    state: RunState


def five_fields(cron: str) -> str:
    """A cron line in five fields, whichever way it was written."""
    return NAMES.get(cron.lower(), cron)


def due(
    last: datetime | None,
    now: datetime,
    ticks: Iterable[datetime],
    *,
    schedule: str,
    catch_up: CatchUp = "one",
    jitter: timedelta = NO_JITTER,
) -> Due:
    """What is to be done about the ticks after `last`, the newest one that was settled; they come oldest first.

    None = the schedule is seen for the first time: nothing was promised before now, so nothing is due, and whoever
    calls notes `now` as its `last`.
    """
    if last is None:
        return Due()
    later = (tick for tick in ticks if tick > last)
    begun = tuple(takewhile(lambda tick: starts_at(schedule, tick, jitter) <= now, later))
    newest = max(begun, default=None)
    grace = {newest: GRACE}
    late = tuple(takewhile(lambda tick: starts_at(schedule, tick, jitter) < now - grace.get(tick, PROMPT), begun))
    on_time = begun[len(late) :]
    caught = _caught_up(late, catch_up, has_other=bool(on_time))
    return Due(run=(*caught, *on_time), missed=late[: len(late) - len(caught)])


def starts_at(schedule: str, tick: datetime, jitter: timedelta = NO_JITTER) -> datetime:
    """When a tick begins: at most its jitter later, and always the same."""
    if not jitter:
        return tick
    told = hashlib.sha256(f"{schedule}\n{tick.astimezone(UTC).isoformat()}".encode()).digest()
    return tick + timedelta(seconds=int.from_bytes(told[:8]) % int(jitter.total_seconds()))


def in_the_way(overlap: Overlap, open_runs: Sequence[OpenRun]) -> str:
    """Why a tick is not run, in words; empty where it is.

    `skip` goes by every open run, one that waits for an answer too: it may go on any moment. With `queue` the new
    run is made and stands behind the others (a slot of its workflow sees to that); ten of them are enough.
    """
    if overlap == "skip" and open_runs:
        return f"{open_runs[0].name} is {open_runs[0].state} still"
    if overlap == "queue" and (count := sum(run.state is not RunState.WAITING for run in open_runs)) >= MOST_QUEUED:
        return f"{count} of its runs are queued or at work already"
    return ""


def _caught_up(late: tuple[datetime, ...], catch_up: CatchUp, *, has_other: bool) -> tuple[datetime, ...]:
    most = {"one": int(not has_other), "none": 0, "all": MOST_CAUGHT_UP}[catch_up]
    return late[-most:] if most else ()
