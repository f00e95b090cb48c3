"""Claude Code's tools in our words: what a call does, and the one line that its answer comes down to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crewcap.core.harmless import one_line, plain

_VERBS = {
    "Read": "read",
    "NotebookRead": "read",
    "Edit": "edit",
    "MultiEdit": "edit",
    "Write": "edit",
    "NotebookEdit": "edit",
    "Bash": "run",
    "BashOutput": "run",
    "Grep": "search",
    "Glob": "search",
    "LS": "search",
    "ToolSearch": "search",
    "WebSearch": "search",
    "WebFetch": "search",
    "Agent": "agent",
    "Task": "agent",
    "Workflow": "agent",
    "TodoWrite": "plan",
    "TaskCreate": "plan",
    "TaskUpdate": "plan",
    "ExitPlanMode": "plan",
}
_SUBJECTS = (
    "file_path",
    "notebook_path",
    "command",
    "description",
    "pattern",
    "query",
    "path",
    "url",
    "skill",
    "prompt",
)
_TELLING = re.compile(r"\b\d+ (?:tests? )?(?:passed|failed|errors?|ok|failures?)\b|^(?:OK|FAILED|ok|FAIL)\b")
_EXIT = re.compile(r"Exit code (\d+)\s*(.*)", re.DOTALL)
_LONGEST_LINE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """A tool call in our words."""

    verb: str
    what: str
    lines_added: int = 0
    lines_removed: int = 0


def act(tool: str, arguments: Mapping[str, Any], *, root: str) -> Doing:
    """What a call does: its verb, its subject, and for an edit how many lines it will change."""
    verb = _VERBS.get(tool, "other")
    what = _subject(arguments, root=root)
    if verb == "other":
        what = f"{tool} {what}".strip()
    if verb == "plan":
        what = tool
    added, removed = _lines_changed(arguments) if verb == "edit" else (0, 0)
    return Doing(verb=verb, what=one_line(what), lines_added=added, lines_removed=removed)


def outcome(block: Mapping[str, Any], result: object) -> str:
    """One line of an answer: `+3 -1` of an edit, `9 passed` of a test run, `exit 2: ...` of a failure, else nothing."""
    if isinstance(result, dict) and isinstance(result.get("structuredPatch"), list):
        added, removed = _patched(result)
        return f"+{added} -{removed}"
    text = plain(_content(block.get("content")))
    if block.get("is_error") is True:
        return one_line(_failure(text), limit=_LONGEST_LINE)
    return one_line(_verdict(text), limit=_LONGEST_LINE)


def _subject(arguments: Mapping[str, Any], *, root: str) -> str:
    """The argument that tells people most."""
    for name in _SUBJECTS:
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return _inside(value, root) if name.endswith("path") else value
    return ""


def _inside(path: str, root: str) -> str:
    """A path as people say it: from the workspace's root on."""
    return path.removeprefix(root.rstrip("/") + "/") if root else path


def _lines_changed(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Lines added and removed, from what an edit says it will replace."""
    edits = arguments.get("edits")
    pairs = [edit for edit in edits if isinstance(edit, dict)] if isinstance(edits, list) else [arguments]
    counts = [
        _difference(_lines(pair, "old_string"), _lines(pair, "new_string", "content", "new_source")) for pair in pairs
    ]
    return sum(added for added, _ in counts), sum(removed for _, removed in counts)


def _lines(arguments: Mapping[str, Any], *names: str) -> list[str]:
    value = next((arguments[name] for name in names if isinstance(arguments.get(name), str)), "")
    return value.splitlines()


def _difference(old: list[str], new: list[str]) -> tuple[int, int]:
    """Lines that are not the same at both ends: exact for one hunk, and an edit is one."""
    shared = min(len(old), len(new))
    head = next((at for at in range(shared) if old[at] != new[at]), shared)
    tail = next((at for at in range(shared - head) if old[-1 - at] != new[-1 - at]), shared - head)
    return len(new) - head - tail, len(old) - head - tail


def _patched(result: Mapping[str, Any]) -> tuple[int, int]:
    """Lines of the patch that was made; a new file has no patch, only content."""
    hunks = [hunk for hunk in result["structuredPatch"] if isinstance(hunk, dict)]
    lines = [line for hunk in hunks for line in hunk.get("lines", []) if isinstance(line, str)]
    if not hunks and isinstance(result.get("content"), str):
        return len(result["content"].splitlines()), 0
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def _content(content: object) -> str:
    """The text of an answer, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))


def _failure(text: str) -> str:
    """`exit 2: why` of a command, else the first line; a failed test run says its counts instead."""
    match = _EXIT.match(text)
    if match is None:
        return next((line for line in text.splitlines() if line.strip()), "failed")
    told = _verdict(match[2]) or next((line for line in match[2].splitlines() if line.strip()), "")
    return f"exit {match[1]}: {told}" if told else f"exit {match[1]}"


def _verdict(text: str) -> str:
    """The last line of an output, if it is one that tells how a test run went."""
    last = next((line for line in reversed(text.splitlines()) if line.strip(" =-*_")), "").strip(" =-*_")
    return last if _TELLING.search(last) else ""
