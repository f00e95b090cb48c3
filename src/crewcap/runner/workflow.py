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
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from crewcap.agents import AgentAdapter, LaunchOrder
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import AgentEnd, AgentEvent, Check, Cut, Run, RunEvent, RunState, Verdict, move
from crewcap.core.verdict import Evidence, Judgement, judge
from crewcap.errors import CrewcapError, MoneyRefused
from crewcap.gateway.front.fanout import Seen
from crewcap.runner import checks, prompt
from crewcap.runner.access import bring_limits, end_keys, give_key, scopes_kept, scopes_of
from crewcap.runner.agent_turn import Company, Patience, work
from crewcap.runner.doors import Door, Doors
from crewcap.runner.moments import Counted, Ended, Heard, Moment, Stepped
from crewcap.runner.ownership import clear_stop, is_stop_requested, myself
from crewcap.runner.plan import Plan
from crewcap.runner.process import TIMED_OUT, Outcome, Site
from crewcap.runner.tree import Tree
from crewcap.stores import Ledger, RunStore, Totals
from crewcap.workspaces import Child, Limits

_COUNT_S = 0.5
# Claude Code tells its model that a call which a signal cut off was rejected by the user, who wants it to stop.
_GO_ON = (
    "You were interrupted from outside, and not for anything that you did. A call that was rejected or cut off by it"
    " may be made again. Continue where you were."
)
_FINAL = frozenset({RunState.DONE, RunState.WAITING, RunState.FAILED, RunState.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything that a run needs and did not decide itself."""

    runs: RunStore
    ledger: Ledger
    doors: Doors
    adapter: AgentAdapter
    site: Site
    tree: Tree
    folder: Path  # of the run, in the state directory
    clock: Callable[[], datetime]
    tell: Callable[[Moment], None]
    report: Callable[[Run, Totals], None]
    silent_s: float
    fix_attempts: int
    setup_s: float = 1_800.0
    check_s: float = 1_800.0


@dataclass(slots=True)
class Workflow:
    """One run on its way; `run` is always what is stored."""

    tools: Tools
    plan: Plan
    run: Run
    say: str = ""  # a person's words for a run that is resumed
    _interrupts: int = 0
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[Any] | None = field(default=None)
    _checking: asyncio.Task[Check] | None = field(default=None)

    async def drive(self) -> Run:
        """Take the run from where it is to its end, or to where it waits."""
        self._task = asyncio.current_task()
        clear_stop(self.tools.folder)
        pid, started = myself()
        self._keep(owner_pid=pid, owner_started=started, signal=0)
        counting = asyncio.create_task(self._count())
        try:
            if self.run.state in {RunState.RUNNING, RunState.FINISHING}:
                await self.tools.tree.take_over(self.tools.site)
            while self.run.state not in _FINAL:
                await self._step()
        except asyncio.CancelledError:
            if not self._interrupts:
                raise
            self._move(RunEvent.STOP, verdict=Verdict.CANCELLED, reason="interrupted before it could cost anything")
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
        self._count_once()
        self._report()
        self.tools.tell(Ended(run=self.run))
        return self.run

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C: once pauses the agent, twice stops it; before the agent works, once stops; a check is given up."""
        self._interrupts += 1
        self._keep(signal=int(number))
        if self._interrupts > 1:
            self._hurry.set()
        self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        """End what is ours and takes long; the agent is ended by whoever watches it."""
        if self.run.state in {RunState.QUEUED, RunState.PREPARING} and self._task is not None:
            self._task.cancel()
        if self._checking is not None:
            self._checking.cancel()

    async def _step(self) -> None:
        """What the run's state calls for."""
        match self.run.state:
            case RunState.QUEUED:
                self._move(RunEvent.PREPARE, started_at=self.tools.clock())
            case RunState.PREPARING:
                await self._prepare()
            case RunState.RUNNING:
                await self._work()
            case _:
                await self._finish()

    # preparing

    async def _prepare(self) -> None:
        """Workspace, setup and baseline check: everything that must hold before the first paid request."""
        taken = await self.tools.tree.take(self.run)
        self._keep(base=taken.base, base_branch=taken.base_branch, branch=taken.branch)
        laid = await self.tools.tree.lay_out(self.run, self.tools.site)
        self._tell("workspace", f"{laid.files:,} files, branch {laid.branch}")
        self._report()
        if not await self._set_up():
            return
        before = await self._check("check before")
        self._keep(check_before=before)
        self._move(RunEvent.START)

    async def _set_up(self) -> bool:
        """Run the project's setup; a failure ends the run before any paid request."""
        command = self.plan.project.setup
        if not command:
            return True
        outcome = await self._shell(command, self.tools.setup_s)
        if outcome.status == 0:
            self._tell("setup", f"{command}: done in {outcome.seconds:.0f} s")
            return True
        why = "ran out of time" if outcome.status == TIMED_OUT else f"exit {outcome.status}"
        tail = checks.text_of(outcome.both).strip()[-600:]
        self._tell("setup", f"{command}: {why}")
        self.tools.runs.log(self.run.id, "note", f"setup said: {tail}")
        self._move(
            RunEvent.FAIL, verdict=Verdict.SETUP_FAILED, reason=f"setup `{command}` failed ({why}): {tail[-200:]}"
        )
        return False

    async def _check(self, name: str) -> Check:
        """Run the project's own check, and say what it said; `not_run` is said aloud too."""
        command = self.plan.route.check or self.plan.project.check
        if not command:
            self._tell(name, "not checked: no check is set for this repository")
            return Check(result="not_run")
        outcome = await self._shell(command, self.tools.check_s)
        check = checks.judge(exit_status=outcome.status, output=outcome.both, seconds=outcome.seconds)
        if outcome.status == TIMED_OUT:
            check = replace(check, summary="ran out of time")
        self._tell(name, check.summary)
        return check

    async def _shell(self, command: str, timeout_s: float) -> Outcome:
        """The user's own command, in the sandbox: the only place where a shell is used."""
        return await self.tools.site.perform(("/bin/sh", "-c", command), timeout_s=timeout_s)

    # running

    async def _work(self) -> None:
        """Start the agent on a key of its own, and fetch what it wrote whatever its end is."""
        session_exists = self.tools.tree.has_session(self.run, self.tools.site)
        bring_limits(self.tools.ledger, self.run, issue_cap=self.plan.issue_cap, issue_source="default")
        scopes = scopes_kept(self.tools.ledger, self.run) or scopes_of(
            self.run.issue, run=self.run.id, repo=self.run.repo, user=self.plan.user, teams=self.plan.teams
        )
        end_keys(self.tools.ledger, self.run)
        try:
            access = give_key(
                self.tools.ledger,
                self.run,
                scopes=scopes,
                max_output=self.plan.route.max_output,
                turns_left=max(0, self.run.max_turns - self._totals().requests),
                now=self.tools.clock(),
            )
        except MoneyRefused as refused:
            self._wait_for(refused)
            return
        began = time.monotonic()
        self._keep(refused_before=self._totals().refused, wrap_up="")
        async with self.tools.doors.opened(
            self.run.id, access.key_id, self.tools.site, hurry=self._hurry, fan_out=self.plan.route.fan_out
        ) as door:
            order = self._order(access.secret, door, resume=session_exists)
            end, cut = await work(
                self.tools.site,
                self.tools.adapter,
                self.tools.adapter.launch(order),
                gateway=door.outlet,
                transcript=self.tools.folder / "agent.jsonl",
                patience=Patience(
                    total_s=max(0, self.run.timeout_s - self.run.agent_seconds),
                    silent_s=self.tools.silent_s,
                    hurry=self._hurry,
                ),
                company=Company(began=self._began, hear=self._hear, asked=self._asked, advice=self._advice),
            )
            if not self.run.wrap_up and await self.tools.doors.slice_opened(self.run.id, wait=False):
                self._wrapped_up("ended before it could be told")
            self._keep(frozen=await self.tools.doors.frozen())
            self._hear_of_agents(await self.tools.doors.fan_out(self.run.id))
        end_keys(self.tools.ledger, self.run)
        self.say = ""  # it was said; the next start hears of the check, or goes on
        self.tools.runs.log(self.run.id, "step", f"agent ended: {end.kind} {end.message}"[:500])
        if cut == "paused":
            cut = self._asked()  # perhaps it was said twice
        self._keep(end=end, cut=cut, epoch=self.run.epoch + 1, turns=self._totals().requests)
        self._keep(agent_seconds=round(self.run.agent_seconds + time.monotonic() - began, 3))
        self._move(RunEvent.FINISH)

    def _wait_for(self, refused: MoneyRefused) -> None:
        """No key was given: a limit of runs or hours is used up. Nothing was started, and the run can be resumed."""
        self._tell("limit", f"{refused.message}; {refused.help}")
        self._move(RunEvent.FINISH)
        self._move(RunEvent.PAUSE, verdict=Verdict.BUDGET_EXHAUSTED, reason=refused.message)

    def _order(self, secret: str, door: Door, *, resume: bool) -> LaunchOrder:
        """What the agent is told, by its first start or a later one."""
        layout, route = self.tools.site.layout, self.plan.route
        return LaunchOrder(
            binary=layout.binary,
            prompt=self._words(resume=resume),
            model=self.run.model,
            session=self.run.session,
            home=layout.home,
            workspace=layout.workspace,
            gateway_url=f"http://127.0.0.1:{door.port}",
            gateway_socket="" if layout.loopback else str(door.socket),
            key=secret,
            run=self.run.id,
            effort=self.run.effort,
            subagent_model=route.subagent_model,
            thinking_tokens=route.thinking_tokens,
            max_turns=self.run.max_turns,
            max_output=route.max_output,
            cap_usd=self.run.cap.exact(),
            resume=resume,
            rules=self.tools.tree.rules(self.tools.site),
        )

    def _words(self, *, resume: bool) -> str:
        """The issue at first, with what a person added; a red check's output when it goes back; else go on."""
        if not resume:
            return "\n".join(filter(None, (prompt.first(self.plan, self.run), self.say)))
        if self.say:
            return self.say
        if self.run.fixes and self.run.check_after.result == "failed":
            return prompt.red(self.plan, self.run)
        return _GO_ON

    def _began(self, child: Child) -> None:
        """A limit that this machine cannot enforce is said, not passed over."""
        missing = [one.name for one in fields(Limits) if one.name not in child.enforced]
        if missing:
            self._tell("limits", f"not enforced here: {', '.join(missing).replace('_', ' ')}")

    def _hear(self, event: AgentEvent) -> None:
        """Hand on what the agent says, with what it has cost so far."""
        totals = self._totals()
        self.tools.tell(Heard(event=event, turn=totals.requests, spent=totals.spent + totals.uncertain))
        kind = type(event).__name__.lower()
        text = getattr(event, "what", "") or getattr(event, "text", "") or getattr(event, "message", "")
        if text and not isinstance(event, AgentEnd):  # how it ended is a step of its own
            self.tools.runs.log(self.run.id, "agent", f"{getattr(event, 'verb', kind)} {text}"[:500])

    def _hear_of_agents(self, seen: Seen) -> None:
        """What the gateway saw of the agent's own agents; whoever watches is told only of those that were refused."""
        if told := seen.told():
            self._keep(agents=told)
            self.tools.runs.log(self.run.id, "note", f"agents: {told}")
        if seen.refused:
            self.tools.tell(Stepped(name="agents", text=told))

    async def _advice(self) -> str:
        """What to say into the session once the run is served from its final slice; it is told of in any case."""
        if not await self.tools.doors.slice_opened(self.run.id, wait=True):
            return ""
        can_be_told = self.tools.adapter.capabilities().can_be_told
        left = self._wrapped_up("was told to wrap up" if can_be_told else "cannot be told while it works")
        return prompt.wrap_up(self.run, left=left)

    def _wrapped_up(self, agent: str) -> Money:
        """Its money ran short; how the agent took part in that, and what is left."""
        totals = self._totals()
        left = Money(max(0, (self.run.cap - totals.spent - totals.uncertain).nano))
        self._keep(wrap_up=f"with {left.show()} left, the agent {agent}")
        self._tell("final slice", self.run.wrap_up)
        return left

    def _asked(self) -> Cut:
        """What somebody asked of us since the agent started."""
        if is_stop_requested(self.tools.folder) or self._interrupts > 1:
            return "stopped"
        return "paused" if self._interrupts else ""

    # finishing

    async def _finish(self) -> None:
        """Fetch the work, check it, and judge; a red check may go back into the session."""
        kept = await self.tools.tree.collect(self.run, self.tools.site)
        self._keep(
            commit=kept.commit,
            commits=kept.commits,
            files_changed=kept.files,
            lines_added=kept.added,
            lines_removed=kept.removed,
        )
        for note in kept.notes:
            self._tell("work", note)
        if kept.commits:
            self._keep(check_after=await self._check_after())
        self._keep(cut=self.run.cut or self._asked())
        judgement = judge(self._evidence())
        if self._may_fix(judgement):
            self._keep(fixes=self.run.fixes + 1)
            self._tell("check after", f"red; back to the agent ({self.run.fixes} of {self.tools.fix_attempts})")
            self._move(RunEvent.START)
            return
        if kept.commits:
            await self._publish()
        self._move(judgement.move, verdict=judgement.verdict, reason=judgement.reason)

    async def _check_after(self) -> Check:
        """The check of the work; who interrupts does not wait for it, and the run says that it was not checked."""
        if self.run.cut not in {"paused", "stopped"} and not self._asked():
            self._checking = asyncio.create_task(self._check("check after"))
            try:
                return await self._checking
            except asyncio.CancelledError:
                if not self._interrupts:
                    raise
            finally:
                self._checking = None
        self._tell("check after", "not checked: interrupted")
        return Check(result="not_run")

    async def _publish(self) -> None:
        """The branch goes into the user's own repository; where it cannot, it is still in the mirror, and we say so."""
        if reason := await self.tools.tree.publish(self.run):
            self._tell("branch", f"{self.run.branch} is in the mirror only: {reason}")

    def _evidence(self) -> Evidence:
        """Everything that was seen."""
        totals = self._totals()
        return Evidence(
            end=self.run.end or AgentEnd(kind="crashed", message="crewcap was ended while the agent worked"),
            cut=self.run.cut,
            refused_for_money=totals.refused - self.run.refused_before,
            turns=totals.requests,
            max_turns=self.run.max_turns,
            provider_frozen=self.run.frozen,
            commits=self.run.commits,
            check=self.run.check_after.result,
        )

    def _may_fix(self, judgement: Judgement) -> bool:
        """Whether a red check goes back: the agent ended by itself, and attempts and turns are left."""
        attempts_left = self.run.fixes < self.tools.fix_attempts
        return judgement.verdict == Verdict.CHECK_FAILED and attempts_left and not self._interrupts

    # what is kept and told

    def _keep(self, **changes: Any) -> None:
        """Store what is known now."""
        self.run = replace(self.run, **changes)
        self.tools.runs.save(self.run)

    def _move(self, event: RunEvent, **changes: Any) -> None:
        """Move the run by its table, store it, and say so."""
        state = move(self.run.state, event)
        if state in _FINAL:
            changes.setdefault("ended_at", self.tools.clock())
        self._keep(state=state, **changes)
        self.tools.runs.log(self.run.id, "state", f"{state} {changes.get('reason', '')}".strip())
        self._report()

    def _tell(self, name: str, text: str) -> None:
        self.tools.runs.log(self.run.id, "step", f"{name}: {text}")
        self.tools.tell(Stepped(name=name, text=text))

    def _totals(self) -> Totals:
        return self.tools.ledger.totals(Scope(f"run:{self.run.id}"))

    def _report(self) -> None:
        """Tell the issue. A file that cannot be written is a note in the story: work that was paid for goes on."""
        try:
            self.tools.report(self.run, self._totals())
        except (CrewcapError, OSError) as error:
            self.tools.runs.log(self.run.id, "note", f"the report could not be written: {error}")

    def _count_once(self) -> None:
        totals = self._totals()
        self.tools.tell(Counted(spent=totals.spent + totals.uncertain, held=totals.held, turns=totals.requests))

    async def _count(self) -> None:
        """Money by the ledger, for whoever watches."""
        while True:
            await asyncio.sleep(_COUNT_S)
            self._count_once()
            if is_stop_requested(self.tools.folder) and not self._interrupts:
                self._interrupts = 1
                self._give_up_waiting()
