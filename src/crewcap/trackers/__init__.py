"""Floor 2: where issues come from, where the report goes back to, and where people answer it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crewcap.core.runs import Issue


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """What somebody wrote at an issue for crewcap."""

    id: str  # of these words in this place, whenever they are read
    text: str  # one line, without the name that it begins with
    author: str
    trust: str  # what its author may do in the repository (`core/trust`)
    at: datetime | None = None  # None = the tracker does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An issue as it stands now, with everything that was written there for crewcap."""

    issue: Issue
    mentions: tuple[Mention, ...] = ()  # oldest first
    editor: str = ""  # who last changed its text
    trust: str = ""  # what that person may do in the repository
    changed_at: datetime | None = None  # where words may be half written still; None = what is there is whole


class Tracker(Protocol):
    """One place that issues live in. What it tells is never our own: neither our reports nor what they quote."""

    name: str
    hears: bool  # whether people can answer there

    def read(self, reference: str) -> Issue:
        """The issue as it stands now; `UsageError` with a clear line when it cannot be one."""
        ...

    def report(self, issue: Issue, *, run: str, text: str) -> None:
        """Write or replace this run's report under its marker; the author's words are never touched."""
        ...

    def stamp(self, issue: Issue) -> str:
        """A word that is another one whenever `look` may find something new; cheap. Empty = there is nothing to see."""
        ...

    def look(self, issue: Issue) -> Seen | None:
        """An issue that was read before, as it is now; None where it is gone, or is no issue any more."""
        ...
