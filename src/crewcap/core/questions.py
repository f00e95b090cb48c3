"""What a run that waits asks, and what can be answered.

A pause has one question with an id of its own. It is answered once, by whichever channel comes first: a command, the
issue, a person in a browser. Who answers later is told that it was answered, and by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from crewcap.core.money import ZERO, Money


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
    def is_open(self) -> bool:
        """Whether nobody has answered."""
        return not self.answer
