"""The steps of one run, each of which looks first at how far the run is.

    queued ─> preparing    workspace, setup, baseline check            nothing can cost money yet
           ─> running      door, key, agent                            money, held before each request
           ─> finishing    work fetched, check, perhaps once more      no money
           ─> done | waiting | failed | stopped

Every state is stored before the step that belongs to it begins, so a second start after a kill goes on where the
first one was: `step` asks the run, not its memory. An agent that was killed is started again in its own session,
on a new key; what it had spent stays spent. Work is fetched into the mirror after every start of an agent, so the
most that a crash can lose is what the agent had not yet written.

A command takes all steps one after the other (`drive`); a worker has its engine take them (`worker/hosting`).
"""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Self

from crewcap.core.runs import AT_WORK, Run, RunEvent, RunState, Verdict, Word
from crewcap.runner.finishing import finish
from crewcap.runner.fitting import recall
from crewcap.runner.moments import Ended
from crewcap.runner.ownership import myself
from crewcap.runner.plan import Plan
from crewcap.runner.preparing import begin, lay_out, set_up_and_check
from crewcap.runner.record import FINAL, Record, Tools
from crewcap.runner.working import put_to_work

_COUNT_S = 0.5
_BEFORE_WORK = frozenset({RunState.QUEUED, RunState.PREPARING})


class Workflow:
    """One run on its way, for as long as we are its driver; `run` is always what is stored."""

    def __init__(self, *, tools: Tools, plan: Plan, run: Run, say: str = "") -> None:
        self.record = Record(tools=tools, plan=plan, run=run)
        if say:
            self.record.add_word(Word(seq=0, at=tools.clock(), kind="say", text=say))
        self._task: asyncio.Task[None] | None = None  # the step that is being taken
        self._counting: asyncio.Task[None] | None = None

    @property
    def run(self) -> Run:
        """As it is stored."""
        return self.record.run

    async def __aenter__(self) -> Self:
        record, tools = self.record, self.record.tools
        pid, started = myself()
        record.keep(owner_pid=pid, owner_started=started, signal=0)
        record.listen()
        self._counting = asyncio.create_task(self._watch())
        was_prepared = self.run.is_prepared or self.run.state in {RunState.RUNNING, RunState.FINISHING}
        if self.run.state in AT_WORK and was_prepared and tools.tree.is_there(tools.site):
            record.keep(is_prepared=True)  # which a version before this one did not say
            await tools.tree.take_over(tools.site)
            record.lent = await asyncio.to_thread(recall, tools.fitted)
        elif self.run.state in {RunState.RUNNING, RunState.FINISHING}:
            record.tell("workspace", "not on this machine; it is made anew")
            record.move(RunEvent.PREPARE, is_prepared=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def drive(self) -> Run:
        """Take the run from where it is to its end, or to where it waits."""
        while self.run.state not in FINAL and not self.record.is_leaving:
            await self.step()
        self.close()
        return self.run

    async def step(self) -> None:
        """What the run's state calls for, to its end; whoever interrupts it before it can cost anything stops it."""
        if self.record.interrupts and self.run.state in _BEFORE_WORK:
            self._stop_early()
            return
        self._task = asyncio.create_task(self._step())  # of its own: an interruption that comes too late ends here
        try:
            await self._task
        except asyncio.CancelledError:
            if not self.record.interrupts:
                raise
            if self.run.state in _BEFORE_WORK:
                self._stop_early()
        finally:
            self._task = None

    def close(self) -> None:
        """Its last words: what it cost, to its issue and to whoever watches."""
        self.record.count()
        self.record.report()
        self.record.tools.tell(Ended(run=self.run))

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C: once pauses the agent, twice stops it; before the agent works, once stops; a check is given up."""
        self.record.interrupts += 1
        self.record.keep(signal=int(number))
        if self.record.interrupts > 1:
            self.record.hurry.set()
        self._give_up_waiting()

    @property
    def has_agent(self) -> bool:
        """Whether its agent is at work now."""
        return self._task is not None and self.run.state == RunState.RUNNING

    def leave(self) -> None:
        """End the agent and let the run stand where it is, for whoever goes on with it; nothing of it is decided."""
        self.record.is_leaving = True

    def _give_up_waiting(self) -> None:
        """End what is ours and takes long; the agent is ended by whoever watches it."""
        if self.run.state in _BEFORE_WORK and self._task is not None:
            self._task.cancel()
        if self.record.checking is not None:
            self.record.checking.cancel()

    def _stop_early(self) -> None:
        """Its agent has not begun, or not begun again."""
        began = self.run.epoch > 1
        reason = "interrupted before its agent went on" if began else "interrupted before it could cost anything"
        self.record.move(RunEvent.STOP, verdict=Verdict.CANCELLED, reason=reason)

    async def _step(self) -> None:
        record = self.record
        match self.run.state:
            case RunState.QUEUED:
                begin(record)
            case RunState.PREPARING if not record.is_laid_out:
                await lay_out(record)
            case RunState.PREPARING:
                await set_up_and_check(record)
            case RunState.RUNNING:
                await put_to_work(record)
            case _:
                await finish(record)

    async def _watch(self) -> None:
        """Money by the ledger, for whoever watches; and what somebody says to the run meanwhile."""
        while True:
            await asyncio.sleep(_COUNT_S)
            self.record.count()
            if self.record.listen():
                self._give_up_waiting()
