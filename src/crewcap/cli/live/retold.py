"""A run that another process drives, as moments for the live view: read from its story and from the books.

A story has an agent's calls, and not what became of them: a call is taken to be over when something else is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Acted, Answered, RunId
from crewcap.runner.moments import Counted, Heard, Moment, Stepped
from crewcap.stores import Ledger, LoggedEvent, RunStore

_DEEDS = frozenset({"read", "edit", "run", "search", "agent", "plan", "other"})
_UNTOLD = frozenset({"agent ended"})  # steps that are for the story alone
_NEWS = ("attempt ", "stumbled ")  # notes that whoever watches wants to see


@dataclass(slots=True)
class Retold:
    """What is new of a run since the last look; `after` is the newest line of its story that was told."""

    runs: RunStore
    ledger: Ledger
    run: RunId
    after: int = 0
    spent: Money = ZERO
    turns: int = 0
    _doing: str = field(default="", init=False)  # the call that has no answer yet

    def count(self) -> Counted:
        """Money and turns as they are now."""
        totals = self.ledger.totals(Scope(f"run:{self.run}"))
        self.spent, self.turns = totals.spent + totals.uncertain, totals.requests
        return Counted(spent=self.spent, held=totals.held, turns=self.turns)

    def news(self) -> Iterator[Moment]:
        """What was written down since."""
        for event in self.runs.story(self.run, after=self.after):
            self.after = event.seq
            yield from self._moments(event)

    def _moments(self, event: LoggedEvent) -> Iterator[Moment]:
        name, _, text = event.text.partition(" " if event.kind == "agent" else ": ")
        if event.kind == "agent" and name in _DEEDS:
            yield from self._answered()
            self._doing = str(event.seq)
            yield self._heard(Acted(verb=name, what=text, call=self._doing))
        elif event.kind == "step" and name not in _UNTOLD:
            yield from self._answered()
            yield Stepped(name=name, text=text)
        elif event.kind == "note" and event.text.startswith(_NEWS):
            yield Stepped(name="note", text=event.text)

    def _answered(self) -> Iterator[Moment]:
        if self._doing:
            yield self._heard(Answered(call=self._doing))
        self._doing = ""

    def _heard(self, event: Acted | Answered) -> Heard:
        return Heard(event=event, turn=self.turns, spent=self.spent)


def told_before(runs: RunStore, run: RunId) -> int:
    """The last line of a run's story that is history: all before it was queued this time."""
    story = runs.story(run)
    resumed = [event.seq for event in story if event.kind == "state" and event.text.startswith("resumed ")]
    return resumed[-1] if resumed else 0
