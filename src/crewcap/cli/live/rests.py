"""How long a run stood still between its beginning and its end: it waited for an answer, or in the queue again.

Its story tells: it comes to rest in one state, and is prepared anew when it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from crewcap.core.runs import AT_WORK, Run, RunState
from crewcap.stores import LoggedEvent

_STATES = frozenset(state.value for state in RunState)


def waited_seconds(run: Run, story: Iterable[LoggedEvent], now: datetime) -> float:
    """Out of `wall_seconds`, which go on until it ended, or until now."""
    waited, since = timedelta(0), None
    for event in story:
        state = _state(event)
        if state in AT_WORK:
            waited += event.at - since if since else timedelta(0)
            since = None
        elif state is not None and since is None and run.started_at is not None and event.at >= run.started_at:
            since = event.at
    if since is not None:
        waited += max(timedelta(0), (run.ended_at or now) - since)
    return round(waited.total_seconds(), 3)


def _state(event: LoggedEvent) -> RunState | None:
    """The state that it came to, if it is told with this line."""
    word = event.text.split(" ", 1)[0].rstrip(":")
    return RunState(word) if event.kind == "state" and word in _STATES else None
