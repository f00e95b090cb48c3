"""Issues that nobody wrote down."""

from __future__ import annotations

import io

import pytest

from crewcap.core.runs import Issue
from crewcap.errors import UsageError
from crewcap.trackers import Tracker
from crewcap.trackers.issue_text import LARGEST_BYTES
from crewcap.trackers.prompts import Prompts, Stdin


def test_a_prompt_is_an_issue_named_after_its_first_words() -> None:
    tracker: Tracker = Prompts()
    assert tracker.read("Fix the failing test\n\nIt is in tests/.") == Issue(
        tracker="prompt",
        key="fix-the-failing-test",
        title="Fix the failing test",
        body="Fix the failing test\n\nIt is in tests/.",
    )


def test_a_text_on_stdin_is_an_issue() -> None:
    tracker: Tracker = Stdin(io.BytesIO(b"\n# Fix it #\nplease\n"))
    issue = tracker.read("-")
    assert (issue.tracker, issue.title, issue.body) == ("stdin", "Fix it", "# Fix it #\nplease")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "stdin is empty"),
        (b"\x00\x01", "stdin is a binary file"),
        (b"\xff\xfe", "stdin is not UTF-8"),
        (b"a" * 20_000_000, f"stdin has {LARGEST_BYTES:,} bytes"),
    ],
)
def test_stdin_that_is_no_issue_is_one_clear_line(raw: bytes, message: str) -> None:
    """However much is piped in, no more than an issue is kept."""
    with pytest.raises(UsageError, match=message):
        Stdin(io.BytesIO(raw)).read("-")


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="the prompt is empty"):
        Prompts().read("  ")


def test_a_long_prompt_has_a_short_title() -> None:
    issue = Prompts().read("word " * 500)
    assert len(issue.title) == 80
    assert len(issue.key) <= 40


def test_a_report_on_a_prompt_has_nowhere_to_go() -> None:
    for tracker in (Prompts(), Stdin(io.BytesIO(b"x"))):
        tracker.report(Prompts().read("x"), run="x.1", text="Done")
