"""Queued runs are let in: in fair order, where slots, money, hours and the disk allow it; the others are told why not.

A run is let in by taking its places in the books, which is exact with any number of workers, and is then handed to the
engine. Between the two this process may die: a run that has its places and no attempt under way is handed over again.
The same look finds runs whose attempt ended without them, and begins a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from crewcap.core.admission import Admitted, Queued, Running, Situation, Wish, decide, expected_cost, kind_of
from crewcap.core.budget import Scope
from crewcap.core.history import NO_WORKFLOW, Job, jobs
from crewcap.core.hours import Hours
from crewcap.core.money import Money
from crewcap.core.queueing import Entry, fair_order
from crewcap.core.runs import AT_WORK, Run, RunId, RunState
from crewcap.errors import CrewcapError
from crewcap.runner.access import end_keys
from crewcap.runner.house import House
from crewcap.runner.ownership import LOCAL
from crewcap.runner.room import free_bytes
from crewcap.runner.worker.engine import VERSION, Engine, Unfinished
from crewcap.runner.worker.fencing import LEFT, TIMES, Times, forget_the_dead, living, place_of
from crewcap.stores.run_rows import Overtaken

log = logging.getLogger(__name__)

MOST_OPEN = 10_000
_MOST_LET_IN = 100  # in one look: then others have their turn
_NOT_NOW = Queued(reason="others are before it", scope="")
_HISTORY = timedelta(days=60)
_HISTORY_KEPT = timedelta(minutes=10)


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Lets runs of one store into one engine."""

    house: House
    engine: Engine
    is_shared: bool = False  # whether there may be other workers
    times: Times = TIMES
    version: str = VERSION
    frozen: str = ""  # why the provider's key is out of order, as the gateway last said
    _past: Sequence[Job] = ()
    _past_at: datetime | None = None
    _expected: dict[str, Money | None] = field(default_factory=dict)

    async def look(self) -> int:
        """Let in what may start; how many that were."""
        open_runs = await asyncio.to_thread(self.house.runs.list, limit=MOST_OPEN, open_only=True)
        queued = {run.id: run for run in open_runs if run.hosted and run.state == RunState.QUEUED}
        if not queued:
            return 0
        await self._know_the_past()
        admitted = self.house.runs.admitted()
        waiting = [run for run in queued.values() if run.id not in admitted]
        situation = await asyncio.to_thread(self._situation, open_runs)
        return await self._let_in(waiting, situation)

    async def mend(self) -> int:
        """Begin a new attempt of every run that has its places, or is at work, and that no living worker stands for.

        One worker at a time does so. What was found once is looked at again after a moment: an attempt may be on its
        way from the books into the queue.
        """
        if self.is_shared:
            forget_the_dead(self.house.runs, dead_after_s=self.times.dead_after_s)
        found = await self._unattended()
        if found and self.is_shared:
            await asyncio.sleep(self.times.settle_s)
            before = {(run.id, run.attempt) for run in found}
            found = [run for run in await self._unattended() if (run.id, run.attempt) in before]
        await self.engine.take_up_jobs(await asyncio.to_thread(self._living))
        return sum([await self._begin_again(run) for run in found])

    async def _unattended(self) -> list[Run]:
        """Runs that have begun, and that nobody stands for."""
        alive = await asyncio.to_thread(self._living)
        held = {(each.run, each.attempt) for each in await self.engine.unfinished() if _is_held(each, alive)}
        admitted = self.house.runs.admitted()
        open_runs = await asyncio.to_thread(self.house.runs.list, limit=MOST_OPEN, open_only=True)
        begun = [
            run for run in open_runs if run.state in AT_WORK or (run.state == RunState.QUEUED and run.id in admitted)
        ]
        return [run for run in begun if run.hosted and (run.id, run.attempt) not in held]

    async def _begin_again(self, run: Run) -> int:
        """What the attempt before does from now on counts for nothing: the books refuse it, and its keys are dead."""
        again = replace(run, attempt=run.attempt + 1, owner_pid=0, owner_started="")
        try:
            self.house.runs.save(again, was=run)
        except Overtaken:
            return 0
        await asyncio.to_thread(end_keys, self.house.ledger, run)
        self.house.runs.log(run.id, "note", f"attempt {again.attempt}: the one before ended without an end")
        await self.engine.cancel(run.id, run.attempt)
        await self._enqueue(again)
        return 1

    async def _enqueue(self, run: Run) -> None:
        """To where its workspace is, as long as somebody works there; else to everybody."""
        place, alive = place_of(run.worker), await asyncio.to_thread(self._living)
        is_there = any(place_of(worker) == place and of in {self.version, LEFT} for worker, of in alive.items())
        await self.engine.enqueue(run.id, run.attempt, place=place if is_there else "")

    def _living(self) -> Mapping[str, str]:
        """Workers that live, and the version of each; of books in a file there is one, and that is us."""
        if not self.is_shared:
            return {LOCAL: self.version}
        return living(self.house.runs, dead_after_s=self.times.dead_after_s)

    async def _let_in(self, waiting: Sequence[Run], situation: Situation) -> int:
        """In fair order; whoever is let in changes what there is for those behind."""
        now, by_id = self.house.clock(), {run.id: run for run in waiting}
        order = [by_id[entry.run] for entry in fair_order(map(_entry, waiting), situation.taken, now=now)]
        let_in, place = 0, 0
        for run in order:
            wish = self._wish(run)
            found = decide(wish, situation, now=now) if let_in < _MOST_LET_IN else _NOT_NOW
            if isinstance(found, Admitted) and await self._admit(run):
                situation = situation.having(wish)
                let_in += 1
                continue
            place += 1
            if isinstance(found, Queued):
                self._tell(run, found, place)
        return let_in

    async def _admit(self, run: Run) -> bool:
        scopes = tuple(map(Scope, run.scopes))
        slots = {**self.house.settings.slots.slots_of(scopes), **_alone(run)}
        try:
            if self.house.runs.admit(run.id, slots=slots) is not None:
                return False
        except CrewcapError:  # it was stopped meanwhile
            return False
        await self._enqueue(run)
        return True

    def _tell(self, run: Run, found: Queued, place: int) -> None:
        """Write down what it waits for, where that is news; that others spend meanwhile is none."""
        is_new = kind_of(found.reason) != kind_of(run.queued_for)
        if not is_new and (place, found.opens_at) == (run.position, run.opens_at):
            return
        try:
            self.house.runs.save(
                replace(run, queued_for=found.reason, position=place, opens_at=found.opens_at), was=run
            )
        except Overtaken:
            return
        if is_new:
            self.house.runs.log(run.id, "note", f"queued: {found.reason}")

    def _situation(self, open_runs: Sequence[Run]) -> Situation:
        house = self.house
        return Situation(
            slots=house.settings.slots,
            taken=house.runs.taken(),
            balances=house.ledger.all_balances(),
            counts=house.ledger.counts(),
            running=[self._running(run) for run in open_runs if run.state in AT_WORK],
            disk_free=free_bytes(house.home),
            disk_floor=house.settings.defaults.disk_floor_bytes,
        )

    def _running(self, run: Run) -> Running:
        scopes, spent, expected = self._costs(run)
        return Running(scopes=scopes, cap=run.cap, spent=spent, expected=expected)

    def _wish(self, run: Run) -> Wish:
        hours = Hours.parse(run.hours) if run.hours else None
        scopes, spent, expected = self._costs(run)
        return Wish(
            scopes=scopes,
            cap=run.cap,
            spent=spent,
            expected=expected,
            hours=hours,
            zone=ZoneInfo(self.house.settings.timezone),
            frozen=self.frozen,
        )

    def _costs(self, run: Run) -> tuple[tuple[Scope, ...], Money, Money | None]:
        """A run's scopes, what it has cost with what is held, and what its workflow is expected to."""
        totals = self.house.ledger.totals(Scope(f"run:{run.id}"))
        spent = totals.spent + totals.uncertain + totals.held
        return tuple(map(Scope, run.scopes)), spent, self._expected_of(run.workflow or NO_WORKFLOW)

    def _expected_of(self, workflow: str) -> Money | None:
        if workflow not in self._expected:
            self._expected[workflow] = expected_cost(self._past, workflow)
        return self._expected[workflow]

    async def _know_the_past(self) -> None:
        """What runs have cost; looked up now and then, because it is much to read."""
        now = self.house.clock()
        if self._past_at is not None and now - self._past_at < _HISTORY_KEPT:
            return
        self._past_at, self._expected = now, {}
        self._past = await asyncio.to_thread(self._read_the_past, now - _HISTORY)

    def _read_the_past(self, since: datetime) -> Sequence[Job]:
        return jobs(self.house.ledger.entries(since=since), self.house.runs.list(limit=MOST_OPEN))


def _entry(run: Run) -> Entry:
    repo = next((scope for scope in run.scopes if scope.startswith("repo:")), f"repo:{run.repo}")
    return Entry(
        run=RunId(run.id),
        repo=Scope(repo),
        user=Scope(f"user:{run.user or 'unknown'}"),
        since=run.queued_at or run.created_at,
        priority=run.priority,
    )


def _is_held(found: Unfinished, alive: Mapping[str, str]) -> bool:
    """Whether somebody who lives has an attempt, or can take it: of its version, and where it belongs.

    What a worker left that ended in order is kept for the next one there.
    """
    if found.state == "pending":
        return alive.get(found.executor) in {found.version, LEFT}
    return any(
        version in {found.version, LEFT} and found.place in {"", place_of(worker)} for worker, version in alive.items()
    )


def _alone(run: Run) -> Mapping[Scope, int]:
    """Runs of a schedule that may not overlap have one place for all of them."""
    return {Scope(f"workflow:{run.workflow}"): 1} if run.is_alone else {}
