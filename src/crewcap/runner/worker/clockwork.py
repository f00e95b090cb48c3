"""Schedules at work: each due time becomes at most one run, with any number of workers and through any restart.

Every worker reckons the same ticks and asks the engine for the same job, `tick NAME@TIME`, which exists once. The job
makes the run, and the run carries the tick as its trigger, which the books have once. What came of each tick is noted;
the newest note is where the next look begins.

Where several ticks of a schedule are due at once, a look asks for the oldest alone, and its job goes on with those
behind it, one by one: what a crash leaves is due still, because every note is older than it. What a tick finds open,
its run and its note are one act under a lock of its schedule, so that of two jobs at the same time, here or in two
workers, the later one sees the run of the other; and no look gives up a tick that is just being settled.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crewcap.core.runs import Issue, Run
from crewcap.core.schedules import NO_JITTER, Due, OpenRun, due, in_the_way, starts_at
from crewcap.errors import CrewcapError, UsageError
from crewcap.runner import entry, jobs
from crewcap.runner.house import House
from crewcap.runner.plan import Asked
from crewcap.runner.worker.engine import Engine
from crewcap.runner.worker.ticks import Cron
from crewcap.settings.models import ScheduleFile
from crewcap.stores import Tick
from crewcap.stores.run_rows import AlreadyOpen, AlreadyTriggered
from crewcap.trackers.issue_text import title_of
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces.sandbox.ladder import choose

log = logging.getLogger(__name__)

JOB = "tick"
_MOST_OPEN = 10_000
_FARTHEST = timedelta(days=366)
_NOTES_BACK = 100  # as far as a tick is looked for that was settled while its job waited
_AGAIN_S = 0.1


@dataclass(slots=True, kw_only=True)
class Clockwork:
    """The schedules of one home's settings."""

    house: House
    engine: Engine

    async def look(self) -> None:
        """Ask for a job for each tick that has begun."""
        for schedule in self.house.settings.schedules:
            await self._look_at(schedule)

    def upcoming(self) -> list[tuple[datetime, str]]:
        """When each schedule comes next, soonest first."""
        now = self.house.clock()
        found = [(schedule, self._cron(schedule).next(now)) for schedule in self.house.settings.schedules]
        return sorted((starts_at(each.name, at, _jitter(each)), each.name) for each, at in found)

    async def make(self, key: str) -> None:
        """The job: the run of one tick, `NAME@TIME`, and of those that are due behind it."""
        name, _, at_text = key.rpartition("@")
        at = datetime.fromisoformat(at_text)
        schedule = next((each for each in self.house.settings.schedules if each.name == name), None)
        if schedule is None:  # other settings than those of the worker that asked, which asks again
            raise CrewcapError(f"there is no schedule {name} here", help="give all workers the same settings")
        next_one: datetime | None = at
        while next_one is not None:
            await self._settle(schedule, next_one)
            next_one = await asyncio.to_thread(self._first_due, schedule)

    async def _look_at(self, schedule: ScheduleFile) -> None:
        if (at := self._first_due(schedule)) is not None:
            await self.engine.enqueue_job(JOB, f"{schedule.name}@{at.isoformat()}")

    async def _settle(self, schedule: ScheduleFile, at: datetime) -> None:
        """Run this tick, or note why not."""
        while (tick := await asyncio.to_thread(self._settled, schedule, at)) is None:  # noqa: ASYNC110  (of other processes)
            await asyncio.sleep(_AGAIN_S)
        level = logging.INFO if tick.run else logging.WARNING
        log.log(level, "schedule %s, %s: %s", schedule.name, at.isoformat(), tick.run or tick.note)

    def _first_due(self, schedule: ScheduleFile) -> datetime | None:
        """The oldest tick that is to be run; those before it are noted as missed. It blocks."""
        if not (found := self._due(schedule)).last:
            return None
        with self.house.runs.alone(_lock_of(schedule)) as is_ours:
            if not is_ours:  # whoever settles one goes on with the others
                return None
            found = self._due(schedule)
            self._note_missed(schedule, found.missed)
        return next(iter(found.run), None)

    def _due(self, schedule: ScheduleFile) -> Due:
        """What is to be done now."""
        now, runs = self.house.clock(), self.house.runs
        newest = next(iter(runs.ticks(schedule.name)), None)
        if newest is None:  # seen for the first time: nothing was promised before
            runs.note_tick(Tick(schedule=schedule.name, at=now, note="first seen"))
            return Due()
        ticks = self._cron(schedule).between(max(newest.at, now - _FARTHEST), now)
        return due(newest.at, now, ticks, schedule=schedule.name, catch_up=schedule.catch_up, jitter=_jitter(schedule))

    def _note_missed(self, schedule: ScheduleFile, missed: Sequence[datetime]) -> None:
        for at in missed:
            self.house.runs.note_tick(Tick(schedule=schedule.name, at=at, note="missed: nothing was serving"))
        if missed:
            log.warning(
                "schedule %s: %d missed, the last at %s: nothing was serving", schedule.name, len(missed), missed[-1]
            )

    def _cron(self, schedule: ScheduleFile) -> Cron:
        return Cron.parse(schedule.cron, self.house.settings.zone_of(schedule))

    def _settled(self, schedule: ScheduleFile, at: datetime) -> Tick | None:
        """What came of a tick, once and for all; None while another one of its schedule is settled. It blocks."""
        runs = self.house.runs
        with runs.alone(_lock_of(schedule)) as is_ours:
            if not is_ours:
                return None
            if noted := next((tick for tick in runs.ticks(schedule.name, limit=_NOTES_BACK) if tick.at == at), None):
                return noted
            tick = self._made(schedule, at)
            runs.note_tick(tick)
            return tick

    def _made(self, schedule: ScheduleFile, at: datetime) -> Tick:
        """Write the run down; what came of it. It blocks."""
        prefix = f"schedule:{schedule.name}@"
        mine = [run for run in self.house.runs.list(limit=_MOST_OPEN, open_only=True) if run.trigger.startswith(prefix)]
        trigger = prefix + at.astimezone(UTC).isoformat()
        if done := next((run for run in mine if run.trigger == trigger), None):
            return Tick(schedule=schedule.name, at=at, run=done.id)
        open_runs = [OpenRun(name=run.name, state=run.state) for run in mine]
        if why := in_the_way(schedule.overlap, open_runs):
            return Tick(schedule=schedule.name, at=at, note=f"left out: {why}")
        try:
            return Tick(schedule=schedule.name, at=at, run=self._written(schedule, at, trigger).id)
        except (AlreadyTriggered, AlreadyOpen) as already:
            return Tick(schedule=schedule.name, at=at, run=already.run.id)
        except CrewcapError as error:
            return Tick(schedule=schedule.name, at=at, note=f"failed: {error.message}")

    def _written(self, schedule: ScheduleFile, at: datetime, trigger: str) -> Run:
        house = self.house
        asked = Asked(
            agent=schedule.agent or "",
            model=schedule.model or "",
            user=house.settings.defaults.user or "unknown",
            workflow=schedule.workflow_name,
            priority=schedule.priority,
            hours=schedule.hours,
        )
        job = jobs.prepare(house, self._issue(schedule, at), Prompts(), asked, repo=schedule.repo)
        sandbox = choose(job.plan.sandbox, state=house.home.root)  # type: ignore[arg-type]  # settings checked it
        order = jobs.make_order(house, job, sandbox, tell=lambda _: None, keys={})
        alone = schedule.overlap != "allow"
        return entry.write_down(order, job.plan, job.found, hosted=True, trigger=trigger, is_alone=alone)

    def _issue(self, schedule: ScheduleFile, at: datetime) -> Issue:
        """What is asked; each tick is an issue of its own, with a lifetime budget of its own."""
        words = schedule.prompt or self._read(schedule)
        return Issue(
            tracker="schedule",
            key=f"{schedule.name}-{at.astimezone(UTC):%Y%m%d-%H%M}",
            title=title_of(words) or schedule.name,
            body=words,
            cap=schedule.cap,
            source=f"schedule {schedule.name}",
        )

    def _read(self, schedule: ScheduleFile) -> str:
        path = self.house.settings.prompt_file_of(schedule) or Path()
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"schedule {schedule.name}: {path} cannot be read: {error}", help="mend prompt_file"
            ) from None


def _jitter(schedule: ScheduleFile) -> timedelta:
    return timedelta(seconds=schedule.jitter_s) if schedule.jitter_s else NO_JITTER


def _lock_of(schedule: ScheduleFile) -> str:
    """A word of few letters for a name of any length: on SQLite it names a file."""
    return f"schedule-{hashlib.sha256(schedule.name.encode()).hexdigest()[:16]}"
