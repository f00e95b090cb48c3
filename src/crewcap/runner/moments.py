"""What a run tells whoever watches it: a closed union, and no word about screens."""

from __future__ import annotations

from dataclasses import dataclass

from crewcap.core.money import Money
from crewcap.core.runs import AgentEvent, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """A step of ours is done, or begins to take long: `workspace`, `setup`, `check before`..."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The agent said or did something."""

    event: AgentEvent
    turn: int  # requests granted so far, by the ledger
    spent: Money  # so far, uncertain money included


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Money and turns by the ledger, several times a second."""

    spent: Money
    held: Money
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is at its end, or waits."""

    run: Run


Moment = Stepped | Heard | Counted | Ended
