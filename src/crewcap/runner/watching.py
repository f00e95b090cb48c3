"""The watch over a run while its agent works: it is fed what is seen, and what it finds is told or ends the agent.

Signs come from two sides. Tool calls and their answers are fed as the agent's lines are heard. The rest is asked for
every two seconds: closed and refused requests in the ledger, the run's agents at the gateway's control socket, and
whether the workspace changed, which is looked at only where no edit was seen for many turns. No request to a model
waits for any of this. A look that fails is made again; a watch that fails time after time is a line in the story: work
that was paid for goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from crewcap.core.budget import HoldId, KeyId, Scope
from crewcap.core.runs import AgentEvent, Cut, Remark
from crewcap.core.watch import Finding, Watch
from crewcap.core.watch_signs import Looked, Peopled, Refused, Sign, Waited
from crewcap.errors import CrewcapError
from crewcap.runner.record import Record
from crewcap.runner.signs import alike, of_event, past_of, requested
from crewcap.stores import Totals
from crewcap.workspaces.untrusted_tree import walk

log = logging.getLogger(__name__)

POLL_S = 2.0
MOST_FAILURES = 5  # that are defects of ours, before the watch is given up
MOST_REMARKS = 50  # that a run keeps
_ROUNDS_A_LOOK = 5  # rounds between two questions to the gateway
_OVERLAP = timedelta(hours=1)  # requests end in another order than they began
_SKEW = timedelta(minutes=5)  # between our clock and the one of the books
_TICK_NS = 50_000_000  # the clock of files lags behind
_MOST_RUNS = 500  # among which those are that a run is compared with
_MOST_NAMES = 100_000  # of a workspace; a larger one has changed for all we know
_NO_WORK = frozenset({".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "node_modules"})


@dataclass(slots=True, kw_only=True)
class Watching:
    """The watch over one start of an agent."""

    record: Record
    watch: Watch
    key: KeyId  # of this start: what other keys sent belongs to others
    since: datetime  # no request of interest was reserved earlier
    known: Totals  # as the books were last looked at
    turns: int  # requests that ended, those of earlier starts among them
    cut: Cut = ""  # what the watch wants done with the agent
    reason: str = ""  # why
    _heard: float = field(default_factory=time.monotonic)
    _looked_ns: int = field(default_factory=time.time_ns)
    _seen: dict[HoldId, datetime] = field(default_factory=dict)
    _rounds: int = 0
    _knows_past: bool = False
    _failures: int = 0  # of ours, since the last round that went well
    _failure_told: bool = False

    @classmethod
    @asynccontextmanager
    async def over(cls, record: Record, *, key: KeyId) -> AsyncIterator[Watching]:
        """Watch for as long as this is open."""
        tools, totals = record.tools, record.totals()
        made = cls(
            record=record,
            watch=Watch(
                rules=tools.watch,
                cap=record.run.cap,
                window=record.plan.context_window,
                before=totals.spent + totals.uncertain,
                turn=totals.requests,
            ),
            key=key,
            since=tools.clock() - _SKEW,
            known=totals,
            turns=totals.requests,
        )
        following = asyncio.create_task(made._follow())
        try:
            yield made
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            made._collect_last()

    def hear(self, event: AgentEvent, *, turn: int) -> None:
        """The agent said or did something."""
        self._heard = time.monotonic()
        if self._is_given_up:
            return
        with self._harmless():
            if sign := of_event(event, at=self._now(), turn=turn):
                self._feed([sign])

    async def _follow(self) -> None:
        """Ask for what nobody tells, until the agent ends."""
        while not (self.cut or self._is_given_up):
            with self._harmless():
                if not self._knows_past:
                    await self._look_back()
            await asyncio.sleep(POLL_S)
            with self._harmless():
                await self._round()
                self._failures = 0

    @property
    def _is_given_up(self) -> bool:
        return self._failures >= MOST_FAILURES

    async def _look_back(self) -> None:
        """What earlier runs of this kind came to."""
        others = alike(self.record.run, self.record.tools.runs.list(limit=_MOST_RUNS))
        self.watch.past = await asyncio.to_thread(past_of, self.record.tools.ledger, others)
        self._knows_past = True

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Whatever goes wrong here ends no run: it is asked again; a defect of ours that lasts is told, once."""
        try:
            yield
        except CrewcapError:
            log.warning("the watch could not ask", exc_info=True)
        except Exception:
            log.exception("the watch failed")
            self._failures += 1
            self._tell_failure()

    def _tell_failure(self) -> None:
        """When it fails for the first time, and when it is given up."""
        if self._failures == MOST_FAILURES:
            self.record.log("note", "the watch failed again and again, and the run goes on without it")
        elif not self._failure_told:
            self._failure_told = True
            self.record.log("note", "the watch failed, a defect of ours; it looks again")

    async def _round(self) -> None:
        """Everything that can be asked for."""
        self._feed(self._requests())
        self._feed(self._waits())
        if self._rounds % _ROUNDS_A_LOOK == 0:
            seen = await self.record.tools.doors.fan_out(self.record.run.id)
            self._feed([Peopled(at=self._now(), turn=self.watch.turn, agents=seen.agents, depth=seen.depth)])
        if self.watch.wants_look:
            looked_ns = time.time_ns() - _TICK_NS
            changed = await asyncio.to_thread(changed_since, self.record.tools.site.workspace, self._looked_ns)
            if changed:
                self._looked_ns = looked_ns
            self._feed([Looked(at=self._now(), turn=self.watch.turn, changed=changed)])
        self._rounds += 1

    def _collect_last(self) -> None:
        """What ended since the last round; nothing is left to be ended by it."""
        with self._harmless():
            self._feed(self._requests())

    def _requests(self) -> list[Sign]:
        """Requests that ended or were refused since the last time."""
        totals, before = self.record.totals(), self.known
        if totals == before:
            return []
        signs: list[Sign] = list(self._ended())
        self.known = totals
        if refused := totals.refused - before.refused:
            signs.append(Refused(at=self._now(), turn=self.watch.turn, count=refused))
        return signs

    def _ended(self) -> Iterable[Sign]:
        """Closed requests that were not seen yet."""
        record = self.record
        entries = record.tools.ledger.entries(scope=Scope(f"run:{record.run.id}"), since=self.since)
        mine = (entry for entry in entries if entry.key == self.key and entry.hold not in self._seen)
        fresh = sorted(mine, key=lambda entry: entry.closed_at)
        for entry in fresh:
            self._seen[entry.hold] = entry.booked_at
            self.turns += 1
            yield requested(entry, turn=self.turns)
        if fresh:
            self._forget(fresh[-1].booked_at - _OVERLAP)

    def _forget(self, before: datetime) -> None:
        """What began so long ago is not asked for again."""
        if before > self.since:
            self.since = before
            self._seen = {hold: at for hold, at in self._seen.items() if at >= before}

    def _waits(self) -> list[Sign]:
        """The request that has been under way longest."""
        record = self.record
        sent = [hold.sent_at for hold in record.tools.ledger.open_holds(run=record.run.id)]
        if not sent:
            return []
        waiting_s = (record.tools.clock() - min(sent)).total_seconds()
        silent_s = time.monotonic() - self._heard
        return [Waited(at=self._now(), turn=self.watch.turn, waiting_s=waiting_s, silent_s=silent_s)]

    def _feed(self, signs: Iterable[Sign]) -> None:
        for sign in signs:
            for finding in self.watch.feed(sign):
                self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        """A note is told; more than a note ends the agent as well."""
        record = self.record
        words = finding.words
        if finding.action != "note":
            self.cut, self.reason = ("paused" if finding.action == "pause" else "stopped"), words
            words = f"{self.cut}: {words}"
        remark = Remark(rule=finding.rule, action=finding.action, words=finding.words, turn=finding.turn)
        record.keep(watched=(*record.run.watched, remark)[-MOST_REMARKS:])
        record.tell("watch", words)

    def _now(self) -> float:
        return self.record.tools.clock().timestamp()


def changed_since(workspace: Path, since_ns: int) -> bool:
    """Whether anything in a workspace was written, made or taken away since; yes where that cannot be seen."""
    lost: list[str] = []
    try:
        for number, found in enumerate(walk(workspace, enter=_is_work, lost=lost)):
            if number >= _MOST_NAMES or max(found.info.st_mtime_ns, found.info.st_ctime_ns) > since_ns:
                return True
    except OSError:
        return True
    return bool(lost)


def _is_work(path: str) -> bool:
    return path.rpartition("/")[2] not in _NO_WORK
