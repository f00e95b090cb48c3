"""When a line was written, as transcripts say it."""

from __future__ import annotations

from datetime import UTC, datetime

from crewcap.transcripts import Sink, State


def at_ms(when: str, state: State, into: Sink) -> int:
    """Milliseconds since 1970; a line without a time has that of its file."""
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        into.problems["without a time: the file's was taken"] += 1
        return int(state["mtime_ms"])
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
