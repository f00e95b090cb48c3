"""The runs that this worker carries out, a step at a time, as the engine asks for them.

A run is opened when its first step comes here and closed when it comes to rest; in between, what it has at hand (its
sandbox, its door, what it was lent) stays in this process. The engine's name for a step is only a hint: what is done
is what the run's row calls for, and the answer is the name of what it calls for then. So a step that is asked for
twice, or after its effect, does nothing twice.

A step that fails in a way of its own is left to a new attempt, a bounded number of times; then the run has failed, and
says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from crewcap.core.budget import Scope
from crewcap.core.runs import AT_WORK, Run, RunEvent, RunId, RunState, Verdict, move
from crewcap.errors import CrewcapError
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner import jobs, start
from crewcap.runner.access import end_keys
from crewcap.runner.doors import LastingDoors
from crewcap.runner.house import House
from crewcap.runner.ownership import is_of_another
from crewcap.runner.record import FINAL
from crewcap.runner.workflow import Workflow
from crewcap.workspaces.sandbox.ladder import choose

log = logging.getLogger(__name__)

_LOOK_S = 0.05
MOST_STUMBLES = 3  # steps of one run that may fail in a way of their own


@dataclass(frozen=True, slots=True)
class _Opened:
    """A run that is here, and what ends its being here."""

    workflow: Workflow
    stack: contextlib.AsyncExitStack
    attempt: int


class Host:
    """Everything that this worker has under way."""

    def __init__(self, house: House, lifeline: Lifeline, *, worker: str, rested: Callable[[Run], None]) -> None:
        self._house = house
        self._lifeline = lifeline
        self._worker = worker
        self._rested = rested  # told of each run that came to rest
        self._opened: dict[RunId, _Opened] = {}
        self._standing: set[RunId] = set()  # runs whose agent is not started any more
        self._is_draining = False
        self._is_leaving = False

    @property
    def busy(self) -> int:
        """How many runs something is done for here."""
        return len(self._opened.keys() - self._standing)

    def drain(self) -> None:
        """Start no agent any more; those at work may end, and so may what follows them."""
        self._is_draining = True

    async def perform(self, id_: RunId, attempt: int, step: str) -> str:
        """Do what the run calls for; the name of what it calls for then, '' where this attempt is over."""
        run = await asyncio.to_thread(self._house.runs.get, id_)
        if run is None or run.attempt != attempt:
            return ""
        if step == "report":
            await self._report(run)
            return "release"
        if step == "release":
            await self._release(run)
            return ""
        if run.state in FINAL:
            return "report"
        if self._is_leaving:
            await asyncio.Event().wait()
        return await self._go_on(run)

    async def leave(self) -> None:
        """End every agent and let its run stand where it is; who goes on with it is another process."""
        self._is_leaving = True
        for each in self._opened.values():
            each.workflow.leave()
        while any(each.workflow.has_agent for each in self._opened.values()):  # noqa: ASYNC110  (many, each its own)
            await asyncio.sleep(_LOOK_S)

    async def _go_on(self, run: Run) -> str:
        try:
            opened = await self._open(run)
            if self._is_draining and opened.workflow.run.state == RunState.RUNNING:
                self._standing.add(run.id)
                await asyncio.Event().wait()
            await opened.workflow.step()
        except CrewcapError as error:
            return await self._stumbled(run, error)
        except asyncio.CancelledError:
            await self._close(run.id)
            raise
        except Exception as error:
            log.exception("%s stumbled", run.name)
            return await self._stumbled(run, error)
        if self._is_leaving:
            await asyncio.Event().wait()
        return step_of(opened.workflow)

    async def _open(self, run: Run) -> _Opened:
        """The run with everything at hand; made when there is nothing yet."""
        known = self._opened.get(run.id)
        if known is not None and known.attempt == run.attempt:
            return known
        await self._close(run.id)
        job = await asyncio.to_thread(jobs.prepare_again, self._house, run)
        sandbox = await asyncio.to_thread(choose, job.plan.sandbox, state=self._house.home.root)  # type: ignore[arg-type]  # settings checked it
        order = jobs.make_order(self._house, job, sandbox, tell=lambda _: None, keys={})
        start.guard_keys(job.settings, sandbox, is_spoken=job.plan.sandbox == "unconfined")
        run, is_inherited = replace(run, worker=self._worker), run.state in AT_WORK and is_of_another(run)
        stack = contextlib.AsyncExitStack()
        doors = LastingDoors(self._lifeline)
        workflow = await stack.enter_async_context(start.opened(order, job.plan, run, job.found, doors=doors))
        self._opened[run.id] = opened = _Opened(workflow, stack, run.attempt)
        if is_inherited:
            self._house.runs.log(run.id, "note", "its worker was ended; a new one goes on with it")
        return opened

    async def _close(self, id_: RunId) -> None:
        opened = self._opened.pop(id_, None)
        if opened is not None:
            await opened.stack.aclose()

    async def _stumbled(self, run: Run, error: Exception) -> str:
        """Close it here, and begin a new attempt; or let it have failed, where that has been tried often enough."""
        with contextlib.suppress(Exception):
            await self._close(run.id)
        now = self._house.runs.get(run.id)
        if now is None or now.attempt != run.attempt:  # others go on with it
            return ""
        if now.state in FINAL:
            return "report"
        words = error.message if isinstance(error, CrewcapError) else f"{type(error).__name__}: {error}"
        self._house.runs.log(run.id, "note", f"stumbled while {now.state}: {words}")
        if now.stumbles + 1 < MOST_STUMBLES:
            self._house.runs.save(replace(now, stumbles=now.stumbles + 1))
            raise error
        end_keys(self._house.ledger, now)
        for event in _to_failure(now.state):
            now = replace(now, state=move(now.state, event))
            if event == RunEvent.FAIL:
                reason = f"it could not be gone on with: {words}"
                now = replace(now, verdict=Verdict.AGENT_ERROR, reason=reason, ended_at=self._house.clock())
            self._house.runs.save(now)
        return "report"

    async def _report(self, run: Run) -> None:
        """Its last words, also where the process that drove it could not say them any more."""
        opened = self._opened.get(run.id)
        if opened is not None:
            opened.workflow.close()
            return
        try:
            job = await asyncio.to_thread(jobs.prepare_again, self._house, run)
            sandbox = choose("auto", state=self._house.home.root)
            order = jobs.make_order(self._house, job, sandbox, tell=lambda _: None, keys={})
            order.report(run, self._house.ledger.totals(Scope(f"run:{run.id}")))
        except (CrewcapError, OSError) as error:
            self._house.runs.log(run.id, "note", f"the report could not be written: {error}")

    async def _release(self, run: Run) -> None:
        await self._close(run.id)
        self._rested(run)


def step_of(workflow: Workflow) -> str:
    """The engine's name for what a run calls for."""
    match workflow.run.state:
        case RunState.QUEUED:
            return "admit"
        case RunState.PREPARING:
            return "setup" if workflow.record.is_laid_out else "workspace"
        case RunState.RUNNING:
            return "agent"
        case RunState.FINISHING:
            return "publish"
        case _:
            return "report"


def _to_failure(state: RunState) -> tuple[RunEvent, ...]:
    return (RunEvent.FINISH, RunEvent.FAIL) if state == RunState.RUNNING else (RunEvent.FAIL,)
