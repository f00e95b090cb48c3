"""From running to finishing: door, key, agent. This is where money is spent, held before each request."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from crewcap.agents import LaunchOrder
from crewcap.core.money import Money
from crewcap.core.runs import AgentEnd, AgentEvent, Cut, Other, RunEvent, Verdict, Word
from crewcap.errors import MoneyRefused, UnsafeEnvironment
from crewcap.gateway.front.fanout import Seen
from crewcap.runner import prompt
from crewcap.runner.access import Access, bring_limits, end_keys, give_key, scopes_kept, scopes_of
from crewcap.runner.agent_turn import Company, Patience, work
from crewcap.runner.doors import Door
from crewcap.runner.moments import Heard, Stepped
from crewcap.runner.record import Record
from crewcap.runner.scrubbed import scrubbed
from crewcap.runner.watching import Watching
from crewcap.workspaces import Child

_WATCHED = (
    "You were paused, because you seemed to go in circles: {why}. Do not do the same again. Take another way, or end"
    " and say what you lack."
)
# Claude Code tells its model that a call which a signal cut off was rejected by the user, who wants it to stop.
_GO_ON = (
    "You were interrupted from outside, and not for anything that you did. A call that was rejected or cut off by it"
    " may be made again. Continue where you were."
)


_MOST_LOSSES: Mapping[Cut, int] = {"gateway": 10, "outside": 3}  # then its agent's own word is believed
_BEFELL: Mapping[Cut, tuple[str, str]] = {
    "gateway": ("gateway", "it ended; the agent goes on in its session as soon as there is one again"),
    "outside": ("agent", "a signal of somebody else's ended it; it goes on in its session"),
}

_CUT_SHORT: Mapping[Cut, str] = {
    "paused": "paused",
    "stopped": "stopped",
    "timeout": "its time was up",
    "stalled": "it showed no sign of life for too long",
    "left": "who drove it leaves",
}


async def put_to_work(record: Record) -> None:
    """Start the agent on a key of its own and see it through.

    Where its driver leaves, its gateway ended or somebody else killed it, nothing is decided: the run stays as it is.
    """
    if asked := record.asked():  # before it began, or between two starts
        if asked != "left":
            record.move(RunEvent.FINISH, cut=asked)
        return
    resume = record.tools.tree.has_session(record.run, record.tools.site)
    try:
        access = _admitted(record)
    except MoneyRefused as refused:
        _wait_for(record, refused)
        return
    record.listen()
    if asked := record.asked():  # who said so has ended the keys that were there, and this one was perhaps not yet
        end_keys(record.tools.ledger, record.run)
        if asked != "left":
            record.move(RunEvent.FINISH, cut=asked)
        return
    began = time.monotonic()
    said = record.messages()
    words = _words(record, say=joined(said), resume=resume)
    record.keep(refused_before=record.totals().refused, wrap_up="", runaway="")
    end, cut = await _through(record, access, words=words, said=said, resume=resume)
    end_keys(record.tools.ledger, record.run)
    record.listen()
    if asked := record.wanted():  # a person's word is above the watch's, and perhaps it was said twice
        cut = asked if cut in {"paused", "stopped"} else cut
        record.keep(runaway="")
    record.log("step", f"agent ended: {_how(end, cut, by_watch=bool(record.run.runaway))}")
    record.keep(end=end, cut=cut, epoch=record.run.epoch + 1, turns=record.totals().requests)
    record.keep(agent_seconds=round(record.run.agent_seconds + time.monotonic() - began, 3))
    if cut in _BEFELL:
        record.losses += 1
        record.tell(*_BEFELL[cut])
    elif cut != "left":
        record.move(RunEvent.FINISH)


def _how(end: AgentEnd, cut: Cut, *, by_watch: bool) -> str:
    """Who was cut short has not crashed: how its process ended is our doing then."""
    if cut in _CUT_SHORT and end.kind in {"crashed", "interrupted"}:
        return f"cut short, {f'{cut} by the watch' if by_watch else _CUT_SHORT[cut]}"
    return ": ".join(filter(None, (end.kind, end.message)))


async def _through(
    record: Record, access: Access, *, words: str, said: Sequence[Word], resume: bool
) -> tuple[AgentEnd, Cut]:
    """The same, where what befell the agent is not taken for its doing: its gateway ended, or somebody killed it."""
    doors = record.tools.doors
    try:
        end, cut = await _start(record, access, words=words, said=said, resume=resume)
    except UnsafeEnvironment:
        if not doors.is_lost:
            raise
        end, cut = AgentEnd(kind="interrupted", message="its gateway ended"), "gateway"
    if doors.is_lost and cut in {"", "gateway"} and end.kind != "finished":
        cut = "gateway"
    if end.kind == "interrupted" and not cut:
        cut = "outside"
    return end, "" if record.losses >= _MOST_LOSSES.get(cut, math.inf) else cut


def _admitted(record: Record) -> Access:
    """A key for this start, on the run's own scopes; those of earlier starts are dead."""
    ledger, run, plan = record.tools.ledger, record.run, record.plan
    bring_limits(ledger, run, issue_cap=plan.issue_cap, issue_source="default")
    scopes = scopes_kept(ledger, run) or scopes_of(
        run.issue, run=run.id, repo=run.repo, user=plan.user, teams=plan.teams, workflow=run.workflow
    )
    end_keys(ledger, run)
    turns_left = max(0, run.max_turns + run.turns_before - record.totals().requests)
    return give_key(
        ledger,
        run,
        scopes=scopes,
        max_output=plan.route.max_output,
        turns_left=turns_left,
        now=record.tools.clock(),
    )


def _wait_for(record: Record, refused: MoneyRefused) -> None:
    """No key was given: a limit of runs or hours is used up. Nothing was started, and the run can be resumed."""
    record.tell("limit", f"{refused.message}; {refused.help}")
    record.move(RunEvent.FINISH)
    record.move(RunEvent.PAUSE, verdict=Verdict.BUDGET_EXHAUSTED, reason=refused.message, waits_for="money")


async def _start(
    record: Record, access: Access, *, words: str, said: Sequence[Word], resume: bool
) -> tuple[AgentEnd, Cut]:
    """The agent in its room, with its door to the gateway, from its first line to its last."""
    tools, run = record.tools, record.run
    async with (
        tools.rooms.opened("agent") as site,
        Watching.over(record, key=access.key_id) as watching,  # its last look comes when every request is settled
        tools.doors.opened(run.id, access.key_id, site, hurry=record.hurry, fan_out=record.plan.route.fan_out) as door,
    ):
        listener = _Listener(record, watching, said)
        end, cut = await work(
            site,
            tools.adapter,
            tools.adapter.launch(_order(record, access.secret, door, words=words, resume=resume)),
            gateway=door.outlet,
            transcript=tools.folder / "agent.jsonl",
            scrubber=record.lent.scrubber,
            patience=Patience(total_s=record.left_s, silent_s=tools.silent_s, hurry=record.hurry),
            company=Company(
                began=listener.began,
                ended=listener.ended,
                hear=listener.hear,
                asked=lambda: record.asked() or watching.cut or ("gateway" if tools.doors.is_lost else ""),
                advice=listener.advice,
            ),
        )
        record.keep(runaway=watching.reason if cut and cut == watching.cut else "")
        if not record.run.wrap_up and await tools.doors.slice_opened(run.id, wait=False):
            listener.wrapped_up("ended before it could be told")
        record.keep(frozen=await tools.doors.frozen())
        listener.hear_of_agents(await tools.doors.fan_out(run.id))
    return end, cut


def _order(record: Record, secret: str, door: Door, *, words: str, resume: bool) -> LaunchOrder:
    """What the agent is told, by its first start or a later one."""
    tools, run, route = record.tools, record.run, record.plan.route
    layout = tools.site.layout
    return LaunchOrder(
        binary=layout.binary,
        prompt=words,
        model=run.model,
        session=run.session,
        home=layout.home,
        workspace=layout.workspace,
        gateway_url=f"http://127.0.0.1:{door.port}",
        gateway_socket="" if layout.loopback else str(door.socket),
        key=secret,
        run=run.id,
        effort=run.effort,
        subagent_model=route.subagent_model,
        thinking_tokens=route.thinking_tokens,
        max_turns=run.max_turns,
        max_output=route.max_output,
        cap_usd=run.cap.exact(),
        resume=resume,
        rules=tools.tree.rules(tools.site),
    )


def _words(record: Record, *, say: str, resume: bool) -> str:
    """The issue at first, with what a person added; a red check's output when it goes back; else go on."""
    if not resume:
        return "\n".join(filter(None, (prompt.first(record.plan, record.run), prompt.taken_up(record.run), say)))
    if say:
        return say
    if record.run.fixes and record.run.check_after.result == "failed":
        return prompt.red(record.plan, record.run)
    if record.run.runaway:
        return _WATCHED.format(why=record.run.runaway)
    return _GO_ON


def joined(said: Sequence[Word]) -> str:
    """Several messages as one."""
    return "\n\n".join(word.text for word in said)


@dataclass(slots=True)
class _Listener:
    """Who hears what the agent says, and knows what to say to it."""

    record: Record
    watching: Watching
    said: Sequence[Word] = ()  # what it is told with its task
    turn: int = 0  # as it was last asked for

    def began(self, child: Child) -> None:
        """It is told its task; a limit that this machine cannot enforce is said, not passed over."""
        self.record.done_with(self.said)
        if child.unenforced:
            self.record.tell("limits", f"not enforced here: {', '.join(child.unenforced)}")

    def ended(self, child: Child) -> None:
        """What its limits stood in the way of is said, even where the agent went on without it."""
        if child.limits_met:
            self.record.tell("limits", f"the agent's commands met its limit on {' and '.join(child.limits_met)}")

    def hear(self, event: AgentEvent) -> None:
        """Hand on what the agent says, with what it has cost so far; a line that means nothing to us costs nothing."""
        if isinstance(event, Other):
            self.watching.hear(event, turn=self.turn)
            return
        totals = self.record.totals()
        self.turn = totals.requests
        self.watching.hear(event, turn=totals.requests)
        event = scrubbed(event, self.record.lent.scrubber)
        self.record.tools.tell(Heard(event=event, turn=totals.requests, spent=totals.spent + totals.uncertain))
        kind = type(event).__name__.lower()
        text = getattr(event, "what", "") or getattr(event, "text", "") or getattr(event, "message", "")
        if text and not isinstance(event, AgentEnd):  # how it ended is a step of its own
            self.record.log("agent", f"{getattr(event, 'verb', kind)} {text}")

    def hear_of_agents(self, seen: Seen) -> None:
        """What the gateway saw of the agent's own agents; whoever watches is told only of those that were refused."""
        if told := seen.told():
            self.record.keep(agents=told)
            self.record.log("note", f"agents: {told}")
        if seen.refused:
            self.record.tools.tell(Stepped(name="agents", text=told))

    async def advice(self) -> AsyncGenerator[str, None]:
        """What to say into the session, as it comes: a person's words, and to wrap up when its money runs short."""
        record = self.record
        can_be_told = record.tools.adapter.capabilities().can_be_told
        wrapping = asyncio.ensure_future(record.tools.doors.slice_opened(record.run.id, wait=True))
        spoken: asyncio.Future[bool] = asyncio.ensure_future(record.has_message.wait())
        waits = {wrapping, spoken} if can_be_told else {wrapping}
        try:
            while waits:
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if wrapping in done and wrapping.result():
                    left = self.wrapped_up("was told to wrap up" if can_be_told else "cannot be told while it works")
                    yield prompt.wrap_up(record.run, left=left)
                if spoken in done:
                    said = record.messages()
                    yield joined(said)
                    self.told(said)  # unless it listens no more: then nobody asks us to go on
                    spoken = asyncio.ensure_future(record.has_message.wait())
                    waits.add(spoken)
        finally:
            for task in (wrapping, spoken):
                task.cancel()

    def told(self, said: Sequence[Word]) -> None:
        """The agent was told this."""
        self.record.done_with(said)
        self.record.tell("message", f"told to the agent: {joined(said)}")

    def wrapped_up(self, agent: str) -> Money:
        """Its money ran short; how the agent took part in that, and what is left."""
        record = self.record
        totals = record.totals()
        left = Money(max(0, (record.run.cap - totals.spent - totals.uncertain).nano))
        record.keep(wrap_up=f"with {left.show()} left, the agent {agent}")
        record.tell("final slice", record.run.wrap_up)
        return left
