"""What a run that waits asks, and what can be answered.

A pause has one question with an id of its own. It is answered once, by whichever channel comes first: a command, the
issue, a person in a browser. Who answers later is told that it was answered, and by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from crewcap.core.money import ZERO, Money

if TYPE_CHECKING:
    from crewcap.core.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One pause's question; it is open for as long as it has no answer."""

    id: str
    asked_at: datetime
    text: str  # "paused at its cap: $2.97 of $3.00 spent"
    choices: tuple[str, ...]  # "+2.00", "+5.00", "stop"
    least: Money = ZERO  # that must be added so that the first turn fits; nothing where money is not what is missing
    again: Money = ZERO  # what it costs to read the context once more
    expires_at: datetime | None = None
    answer: str = ""
    answered_by: str = ""
    answered_at: datetime | None = None

    @property
    def add(self) -> str:
        """The smallest amount among its choices, as `crewcap resume --add` takes it; empty where money is not asked."""
        amounts = [choice[1:] for choice in self.choices if choice.startswith("+")]
        return amounts[0].removesuffix(".00") if amounts else ""

    @property
    def is_open(self) -> bool:
        """Whether nobody has answered."""
        return not self.answer


def resume_command(run: Run) -> str:
    """What to type so that a run that came to rest goes on; with the money that it asks for."""
    if run.question is not None:
        add = run.question.add
    else:  # of a version that asked nothing
        add = "2" if run.state == "waiting" and run.verdict == "budget_exhausted" else ""
    return f"crewcap resume {run.name}" + (f" --add {add}" if add and run.state == "waiting" else "")
