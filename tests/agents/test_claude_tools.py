"""Tool calls in our words."""

from __future__ import annotations

from typing import Any

import pytest

from crewcap.agents.claude_tools import Doing, act, outcome


@pytest.mark.parametrize(
    ("tool", "arguments", "doing"),
    [
        ("Read", {"file_path": "/workspace/src/a.py"}, Doing(verb="read", what="src/a.py")),
        ("Read", {"file_path": "/etc/passwd"}, Doing(verb="read", what="/etc/passwd")),
        ("Bash", {"command": "make\n  test", "description": "Run"}, Doing(verb="run", what="make test")),
        ("Grep", {"pattern": "casefold", "path": "src"}, Doing(verb="search", what="casefold")),
        ("Glob", {"pattern": "**/*.py"}, Doing(verb="search", what="**/*.py")),
        ("Agent", {"description": "Look around", "prompt": "..."}, Doing(verb="agent", what="Look around")),
        ("Task", {"prompt": "Look"}, Doing(verb="agent", what="Look")),
        ("TodoWrite", {"todos": []}, Doing(verb="plan", what="TodoWrite")),
        ("Invented", {"query": "x"}, Doing(verb="other", what="Invented x")),
        ("Invented", {}, Doing(verb="other", what="Invented")),
        ("Bash", {"command": 7}, Doing(verb="run", what="")),
    ],
)
def test_a_call_has_a_verb_and_a_subject(tool: str, arguments: dict[str, Any], doing: Doing) -> None:
    assert act(tool, arguments, root="/workspace") == doing


@pytest.mark.parametrize(
    ("arguments", "added", "removed"),
    [
        ({"old_string": "a\nb\nc", "new_string": "a\nX\nY\nc"}, 2, 1),
        ({"old_string": "a", "new_string": "a"}, 0, 0),
        ({"old_string": "", "new_string": "a\nb"}, 2, 0),
        ({"content": "a\nb\nc\n"}, 3, 0),
        ({"edits": [{"old_string": "a", "new_string": "b"}, {"old_string": "c\nd", "new_string": ""}]}, 1, 3),
    ],
)
def test_an_edit_says_how_many_lines_it_will_change(arguments: dict[str, Any], added: int, removed: int) -> None:
    doing = act("Edit", {"file_path": "/workspace/a", **arguments}, root="/workspace")
    assert (doing.lines_added, doing.lines_removed) == (added, removed)


def test_a_subject_is_one_harmless_line() -> None:
    """A command may hold colours, titles and line ends; the terminal sees none of them."""
    what = act("Bash", {"command": "echo \x1b]0;owned\x07hi\r\n\x1b[2Jthere " + "x" * 900}, root="").what
    assert what.startswith("echo hi there")
    assert len(what) == 200
    assert what.isprintable()


@pytest.mark.parametrize(
    ("content", "is_error", "said"),
    [
        ("collected 9 items\n\n====== 9 passed, 1 warning in 0.12s ======\n", False, "9 passed, 1 warning in 0.12s"),
        ("Ran 3 tests in 0.001s\n\nOK", False, "OK"),
        ("drwxr-xr-x 2 root", False, ""),
        ("Exit code 1\nFAILED a.py::t\n=== 1 failed, 2 passed in 0.2s ===", True, "exit 1: 1 failed, 2 passed in 0.2s"),
        ("Exit code 137", True, "exit 137"),
        ("File does not exist.\nmore", True, "File does not exist."),
        ("", True, "failed"),
        ([{"type": "text", "text": "5 passed"}], False, "5 passed"),
        (None, False, ""),
    ],
)
def test_an_answer_comes_down_to_one_line_that_tells_or_to_none(content: Any, is_error: bool, said: str) -> None:  # noqa: FBT001
    assert outcome({"content": content, "is_error": is_error}, None) == said


def test_an_edit_says_what_it_really_changed() -> None:
    """The patch that was made outranks what the call announced (replace_all, a hook, a merge)."""
    patch = [{"lines": [" one", "-two", "+TWO", "+and"]}, {"lines": ["+x"]}]
    assert outcome({"content": "ok"}, {"structuredPatch": patch}) == "+3 -1"
    assert outcome({"content": "ok"}, {"structuredPatch": [], "content": "x\ny\n", "type": "create"}) == "+2 -0"
