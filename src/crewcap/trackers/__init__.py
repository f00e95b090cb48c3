"""Floor 2: where issues come from and where the report goes back to."""

from __future__ import annotations

from typing import Protocol

from crewcap.core.runs import Issue


class Tracker(Protocol):
    """One place that issues live in."""

    name: str

    def read(self, reference: str) -> Issue:
        """The issue as it stands now; `UsageError` with a clear line when it cannot be one."""
        ...

    def report(self, issue: Issue, *, run: str, text: str) -> None:
        """Write or replace this run's report under its marker; the author's words are never touched."""
        ...
