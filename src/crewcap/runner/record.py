"""A run on its way, as its steps share it: what is stored of it, whom it is told to, and who wants it to end.

Every change goes through `keep` or `move`, which store it before anybody is told; nothing else changes a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from crewcap.agents import AgentAdapter
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Check, Cut, Run, RunEvent, RunState, Word, move
from crewcap.core.watch_rules import Rules
from crewcap.errors import CrewcapError
from crewcap.runner.doors import Doors
from crewcap.runner.fitting import Fitted
from crewcap.runner.lending import Lent
from crewcap.runner.moments import Counted, Moment, Stepped
from crewcap.runner.plan import Plan
from crewcap.runner.process import Site
from crewcap.runner.rooms import Rooms
from crewcap.runner.scrubbed import scrubbed
from crewcap.runner.tree import Tree
from crewcap.stores import Ledger, RunStore, Totals

FINAL = frozenset({RunState.DONE, RunState.WAITING, RunState.FAILED, RunState.STOPPED})
_STORY = 500  # letters of one event


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything that a run needs and did not decide itself."""

    runs: RunStore
    ledger: Ledger
    doors: Doors
    adapter: AgentAdapter
    fitted: Fitted
    tree: Tree
    folder: Path  # of the run, in the state directory
    clock: Callable[[], datetime]
    tell: Callable[[Moment], None]
    report: Callable[[Run, Totals], None]
    silent_s: float
    fix_attempts: int
    setup_s: float = 1_800.0
    check_s: float = 1_800.0
    waiting_expires_s: int = 14 * 86_400
    offers: tuple[Money, ...] = (Money.usd(2), Money.usd(5))  # what a run at its cap asks for
    watch: Rules = field(default_factory=Rules)

    @property
    def site(self) -> Site:
        """Where git works: the run's own tree and nothing else."""
        return self.fitted.rooms.site

    @property
    def rooms(self) -> Rooms:
        """Where the phases work."""
        return self.fitted.rooms


@dataclass(slots=True)
class Record:
    """One run on its way; `run` is always what is stored."""

    tools: Tools
    plan: Plan
    run: Run
    interrupts: int = 0
    hurry: asyncio.Event = field(default_factory=asyncio.Event)  # set when nobody wants to wait any longer
    checking: asyncio.Task[Check] | None = None  # what an interruption gives up at once
    is_stopped: bool = False  # somebody said so, by word
    is_leaving: bool = False  # its driver goes, and the run stays where it is
    losses: int = 0  # times that its agent was lost by nobody's will, in this process's time
    is_laid_out: bool = False  # its workspace stands, and setup may begin
    words: list[Word] = field(default_factory=list)  # what was said to it, and is not done yet
    has_message: asyncio.Event = field(default_factory=asyncio.Event)
    last_word: int = 0  # that was read
    prepared_s: float = 0.0  # what setup and the first check took of the run's time
    lent: Lent = field(default_factory=Lent)  # what it was given beside its repository, and the filter that knows it

    def keep(self, **changes: Any) -> None:
        """Store what is known now."""
        self.run = replace(self.run, **{name: scrubbed(value, self.lent.scrubber) for name, value in changes.items()})
        self.tools.runs.save(self.run)

    @property
    def left_s(self) -> float:
        """What is left of the run's time; the check of its work, which may have cost all of it, has time of its own."""
        return max(0.0, self.run.timeout_s - (self.run.agent_seconds - self.run.seconds_before) - self.prepared_s)

    def move(self, event: RunEvent, **changes: Any) -> None:
        """Move the run by its table, store it, and say so."""
        state = move(self.run.state, event)
        if state in FINAL:
            changes.setdefault("ended_at", self.tools.clock())
        self.keep(state=state, **changes)
        if state in FINAL:
            self.done_with([word for word in self.words if word.kind != "say"])
        self.log("state", f"{state} {changes.get('reason', '')}".strip())
        self.report()

    def tell(self, name: str, text: str) -> None:
        """A step of ours, for the story and for whoever watches."""
        text = self.lent.scrubber.text(text)
        self.log("step", f"{name}: {text}")
        self.tools.tell(Stepped(name=name, text=text))

    def log(self, kind: str, text: str) -> None:
        """A line of the run's story."""
        self.tools.runs.log(self.run.id, kind, self.lent.scrubber.text(text)[:_STORY])

    def report(self) -> None:
        """Tell the issue. A file that cannot be written is a note in the story: work that was paid for goes on."""
        try:
            self.tools.report(self.run, self.totals())
        except (CrewcapError, OSError) as error:
            self.log("note", f"the report could not be written: {error}")

    def totals(self) -> Totals:
        """The run's money, by the ledger."""
        return self.tools.ledger.totals(Scope(f"run:{self.run.id}"))

    def count(self) -> None:
        """Money by the ledger, for whoever watches."""
        totals = self.totals()
        self.tools.tell(Counted(spent=totals.spent + totals.uncertain, held=totals.held, turns=totals.requests))

    def wanted(self) -> Cut:
        """What a person asked of us since the agent started."""
        if self.is_stopped or self.interrupts > 1:
            return "stopped"
        return "paused" if self.interrupts else ""

    def asked(self) -> Cut:
        """The same, or that its driver leaves."""
        return self.wanted() or ("left" if self.is_leaving else "")

    def listen(self) -> bool:
        """Take in what was said to the run; whether that was to end what it does."""
        new = [word for word in self.tools.runs.unheard(self.run.id) if word.seq > self.last_word]
        for word in new:
            self.add_word(word)
        return any(word.kind != "say" for word in new)

    def add_word(self, word: Word) -> None:
        """Somebody said this to the run."""
        self.words.append(word)
        self.last_word = max(self.last_word, word.seq)
        if word.kind == "say":
            self.has_message.set()
        else:
            self.is_stopped |= word.kind == "stop"
            self.interrupts = max(1, self.interrupts)

    def messages(self) -> list[Word]:
        """What a person said that its agent has not been told."""
        return [word for word in self.words if word.kind == "say"]

    def done_with(self, words: Sequence[Word]) -> None:
        """These were told, or did what they were to do; a driver that takes over after us does not hear them again."""
        self.words = [word for word in self.words if word not in words]
        upto = min((word.seq - 1 for word in self.words if word.seq), default=self.last_word)
        if upto > 0:
            self.tools.runs.heard(self.run.id, upto=upto)
        if not self.messages():
            self.has_message.clear()
