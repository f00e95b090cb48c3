"""What `crewcap status` shows, as values, read from the books once."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from crewcap.cli.context import Call
from crewcap.cli.money.past import zone_of
from crewcap.cli.night.alive import is_stranded, workers_elsewhere
from crewcap.cli.night.exposed import goes_on_alone, worst_of
from crewcap.cli.night.morning import Morning, morning_of
from crewcap.cli.night.troubles import Stop, gateways_word, troubles
from crewcap.cli.runs.view import cost_of, totals_of
from crewcap.core.budget import Balance
from crewcap.core.money import ZERO, Money, total
from crewcap.core.runs import OPEN_STATES, Run, RunId, RunState
from crewcap.core.schedules import NO_JITTER, starts_at
from crewcap.gateway.batch.folder import folders
from crewcap.runner.batch_results import JobView, view
from crewcap.runner.worker.presence import Presence, serving
from crewcap.stores import Tick, Totals

_MOST = 10_000
_FIRST_SEEN = "first seen"  # no due time: when a schedule began
_TICKS = 100  # of the newest of a schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A batch that is not over."""

    view: JobView
    is_worked_on: bool  # by this home's gateway; a provider goes on without it, and what it answered is not collected


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that `status` shows."""

    since: datetime
    now: datetime
    zone: tzinfo = UTC
    morning: Morning = field(default_factory=Morning)
    waiting: Sequence[Run] = ()  # for somebody: for money, for an answer, or to be started again
    resting: Sequence[Run] = ()  # waiting too, and they go on by themselves
    queued: Sequence[Run] = ()
    live: Sequence[Run] = ()
    ended: Sequence[Run] = ()
    ended_cost: Money = ZERO
    totals: Mapping[RunId, Totals] = field(default_factory=dict)  # of the open ones
    worst_case: Money = ZERO  # what the open runs may still cost, all together
    uncertain: int = 0
    balances: Sequence[Balance] = ()
    stops: Sequence[Stop] = ()  # providers that are not asked now
    batches: Sequence[OpenBatch] = ()
    ticks: Sequence[tuple[datetime, str]] = ()  # when each schedule comes next, soonest first
    skipped: Sequence[Tick] = ()  # of each schedule the newest tick that started nothing
    presence: Presence | None = None  # the `crewcap serve` of this home
    workers: int = 0  # elsewhere, on the same books

    @property
    def is_served(self) -> bool:
        """Whether somebody carries out what is queued and what is due."""
        return self.presence is not None or self.workers > 0

    @property
    def idle(self) -> int:
        """Queued runs that nobody will start."""
        return 0 if self.is_served else sum(run.hosted for run in self.queued)


def look(call: Call, since: datetime) -> Picture:
    """Read the books once."""
    now, runs = call.clock(), call.app.runs.list(limit=_MOST)
    open_runs = [run for run in runs if run.state in OPEN_STATES]
    ended = [run for run in runs if run.ended_at is not None and run.state not in OPEN_STATES and run.ended_at >= since]
    cut_short = {run.id for run in open_runs if is_stranded(call, run)}
    waits = [run for run in open_runs if run.state == RunState.WAITING or run.id in cut_short]
    presence, workers = serving(call.home), workers_elsewhere(call)
    resting = [run for run in waits if (presence or workers) and _rests(run)]
    going = [run for run in open_runs if run not in waits]
    totals = {run.id: totals_of(call, run) for run in open_runs}
    balances, word = call.app.ledger.all_balances(), gateways_word(call)
    return Picture(
        since=since,
        now=now,
        zone=zone_of(call),
        morning=morning_of(
            ended,
            paused=sum(run.state == RunState.WAITING and _paused_at(run) >= since for run in waits),
            cut_short=len(cut_short),
            spent=_spent(call, since),
        ),
        waiting=[run for run in waits if run not in resting],
        resting=resting,
        queued=sorted((run for run in going if run.state == RunState.QUEUED), key=_place),
        live=[run for run in going if run.state != RunState.QUEUED],
        ended=ended,
        ended_cost=total([cost_of(totals_of(call, run)) for run in ended]),
        totals=totals,
        worst_case=worst_of(call, [(run, totals[run.id]) for run in open_runs], balances, now),
        uncertain=len(call.app.ledger.uncertain_holds()),
        stops=troubles(call, word),
        batches=_batches(call, word.get("batches", ())),
        balances=[one for one in balances if not one.scope.startswith(("run:", "key:", "issue:"))],
        ticks=ticks_of(call, now),
        skipped=_skipped(call, since),
        presence=presence,
        workers=workers,
    )


def ticks_of(call: Call, now: datetime) -> Sequence[tuple[datetime, str]]:
    """When each schedule of the settings comes next, soonest first."""
    settings = call.app.settings
    if not settings.schedules:
        return ()
    from crewcap.runner.worker.ticks import Cron  # noqa: PLC0415  (only where there are schedules)

    found = []
    for each in settings.schedules:
        at = Cron.parse(each.cron, each.timezone or settings.timezone).next(now)
        jitter = timedelta(seconds=each.jitter_s) if each.jitter_s else NO_JITTER
        found.append((starts_at(each.name, at, jitter), each.name))
    return sorted(found)


def _batches(call: Call, worked_on: Container[str]) -> Sequence[OpenBatch]:
    """Batches that are not over, the oldest first."""
    found = [view(each, call.app.ledger) for each in folders(call.home.batches) if not each.state().is_over]
    found.sort(key=lambda each: each.job.created_at)
    return [OpenBatch(view=each, is_worked_on=each.job.name in worked_on) for each in found]


def _skipped(call: Call, since: datetime) -> Sequence[Tick]:
    """Of each schedule the newest tick that started nothing: since then, or with none after it."""
    found = []
    for schedule in call.app.settings.schedules:
        ticks = call.app.runs.ticks(schedule.name, limit=_TICKS)
        idle = (each for each in ticks if not each.run and each.note != _FIRST_SEEN)
        if (newest := next(idle, None)) is not None and (newest.at >= since or newest is ticks[0]):
            found.append(newest)
    return found


def _rests(run: Run) -> bool:
    return run.state == RunState.WAITING and run.hosted and goes_on_alone(run)


def _paused_at(run: Run) -> datetime:
    """When it came to wait."""
    return run.question.asked_at if run.question is not None else run.ended_at or run.created_at


def _place(run: Run) -> tuple[int, datetime]:
    """Those that were looked at in their order, then the others, as they came."""
    return run.position or _MOST, run.queued_at or run.created_at


def _spent(call: Call, since: datetime) -> Money:
    """What all runs cost in that time."""
    of_runs = call.app.reports.labels("run")
    bundles = call.app.reports.bundles(since=since, by_key=True)
    return Money(sum(each.spent + each.uncertain for each in bundles if each.key in of_runs))
