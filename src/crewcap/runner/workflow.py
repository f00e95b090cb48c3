"""The steps of one run, each of which looks first at how far the run is.

    queued ─> preparing    workspace, setup, baseline check            nothing can cost money yet
           ─> running      door, key, agent                            money, held before each request
           ─> finishing    work fetched, check, perhaps once more      no money
           ─> done | waiting | failed | stopped

Every state is stored before the step that belongs to it begins, so a second start after a kill goes on where the
first one was: `drive` asks the run, not its memory. An agent that was killed is started again in its own session,
on a new key; what it had spent stays spent. Work is fetched into the mirror after every start of an agent, so the
most that a crash can lose is what the agent had not yet written.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from crewcap.core.runs import Run, RunEvent, RunState, Verdict
from crewcap.runner.finishing import finish
from crewcap.runner.fitting import recall
from crewcap.runner.moments import Ended
from crewcap.runner.ownership import clear_stop, is_stop_requested, myself
from crewcap.runner.plan import Plan
from crewcap.runner.preparing import prepare
from crewcap.runner.record import FINAL, Record, Tools
from crewcap.runner.working import put_to_work

_COUNT_S = 0.5


class Workflow:
    """One run on its way; `run` is always what is stored."""

    def __init__(self, *, tools: Tools, plan: Plan, run: Run, say: str = "") -> None:
        self.record = Record(tools=tools, plan=plan, run=run)
        self._say = say  # a person's words for a run that is resumed
        self._task: asyncio.Task[Any] | None = None

    @property
    def run(self) -> Run:
        """As it is stored."""
        return self.record.run

    async def drive(self) -> Run:
        """Take the run from where it is to its end, or to where it waits."""
        record, tools = self.record, self.record.tools
        self._task = asyncio.current_task()
        clear_stop(tools.folder)
        pid, started = myself()
        record.keep(owner_pid=pid, owner_started=started, signal=0)
        counting = asyncio.create_task(self._count())
        try:
            if self.run.state in {RunState.RUNNING, RunState.FINISHING}:
                await tools.tree.take_over(tools.site)
                record.lent = await asyncio.to_thread(recall, tools.fitted)
            while self.run.state not in FINAL:
                await self._step()
        except asyncio.CancelledError:
            if not record.interrupts:
                raise
            record.move(RunEvent.STOP, verdict=Verdict.CANCELLED, reason="interrupted before it could cost anything")
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
        record.count()
        record.report()
        tools.tell(Ended(run=self.run))
        return self.run

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C: once pauses the agent, twice stops it; before the agent works, once stops; a check is given up."""
        self.record.interrupts += 1
        self.record.keep(signal=int(number))
        if self.record.interrupts > 1:
            self.record.hurry.set()
        self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        """End what is ours and takes long; the agent is ended by whoever watches it."""
        if self.run.state in {RunState.QUEUED, RunState.PREPARING} and self._task is not None:
            self._task.cancel()
        if self.record.checking is not None:
            self.record.checking.cancel()

    async def _step(self) -> None:
        """What the run's state calls for."""
        match self.run.state:
            case RunState.QUEUED:
                self.record.move(RunEvent.PREPARE, started_at=self.record.tools.clock())
            case RunState.PREPARING:
                await prepare(self.record)
            case RunState.RUNNING:
                await put_to_work(self.record, say=self._say)
                self._say = ""  # it was said; the next start hears of the check, or goes on
            case _:
                await finish(self.record)

    async def _count(self) -> None:
        """Money by the ledger, for whoever watches; and whether somebody asked for an end meanwhile."""
        while True:
            await asyncio.sleep(_COUNT_S)
            self.record.count()
            if is_stop_requested(self.record.tools.folder) and not self.record.interrupts:
                self.record.interrupts = 1
                self._give_up_waiting()
