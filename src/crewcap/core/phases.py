"""Which part of a run a key was made for: each start of a run's agent has a key of its own.

The story of a run tells its states in order, so what stood before the last `running` tells why the agent was started:

    preparing  work      the first start
    finishing  fix       a red check went back into the session
    waiting    resume    somebody answered, or gave more money

A start after a crash has no state of its own; it belongs to what it goes on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

Phase = Literal["work", "fix", "resume"]
_BEFORE: dict[str, Phase] = {"finishing": "fix", "waiting": "resume"}


def phase_of(made_at: datetime, states: Sequence[tuple[datetime, str]]) -> Phase:
    """The phase of a key that was made then; `states` are its run's, oldest first."""
    before = ""
    found: Phase = "work"
    for at, state in states:
        if at > made_at:
            break
        if state == "running":
            found = _BEFORE.get(before, "work")
        before = state
    return found
