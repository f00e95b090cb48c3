"""Issues that nobody wrote down: `-p TEXT` and a text on stdin. There is nowhere to report to but the terminal."""

from __future__ import annotations

from typing import BinaryIO

from crewcap.core.harmless import one_line
from crewcap.core.runs import Issue
from crewcap.trackers import Seen
from crewcap.trackers.issue_text import LARGEST_BYTES, decode, slug, title_of, visible

LONGEST_TITLE = 80


class Unanswered:
    """Where nobody can write anything afterwards."""

    hears = False

    def report(self, issue: Issue, *, run: str, text: str) -> None:
        """There is no place for it."""

    def stamp(self, issue: Issue) -> str:
        """There is nothing to see."""
        del issue
        return ""

    def look(self, issue: Issue) -> Seen | None:
        """There is nothing to see."""
        del issue
        return None


class Prompts(Unanswered):
    """The tracker of `-p`: a reference is the prompt itself."""

    name = "prompt"

    def read(self, reference: str) -> Issue:
        """The prompt as an issue. The same words are the same issue again, with one lifetime budget."""
        return _issue(self.name, reference.encode("utf-8", "surrogateescape"), where="the prompt")


class Stdin(Unanswered):
    """The tracker of `-`: whatever is piped in."""

    name = "stdin"

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, reference: str) -> Issue:
        """All of stdin as an issue; not a byte more than an issue may have is kept."""
        del reference
        return _issue(self.name, self._stream.read(LARGEST_BYTES), where="stdin")


def _issue(tracker: str, raw: bytes, *, where: str) -> Issue:
    body, notes = visible(decode(raw, where=where), where=where)
    first = next(line for line in body.splitlines() if line.strip())
    title = title_of(first) or one_line(first, limit=LONGEST_TITLE)
    return Issue(tracker=tracker, key=slug(title, otherwise=tracker), title=title, body=body, notes=notes)
