"""What a project's own check said, in the few words that a report needs."""

from __future__ import annotations

import re

from crewcap.core.harmless import plain
from crewcap.core.runs import Check

TAIL_LINES = 200
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)\b")
_UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_UNITTEST_BAD = re.compile(r"^FAILED \((?P<counts>[^)]*)\)", re.MULTILINE)
_NODE = re.compile(r"^# (pass|fail) (\d+)$", re.MULTILINE)


def judge(*, exit_status: int, output: bytes, seconds: float) -> Check:
    """A check passed when its command says so by its exit status; the words are only for people."""
    text = text_of(output)
    counts = _counts(text)
    passed = exit_status == 0
    words = ", ".join(f"{number} {word}" for word, number in counts.items() if number) if counts else ""
    return Check(
        result="passed" if passed else "failed",
        summary=words or ("passed" if passed else f"exit {exit_status}"),
        seconds=round(seconds, 3),
        tail="\n".join(text.splitlines()[-TAIL_LINES:]),
    )


def text_of(output: bytes) -> str:
    """Text without colours and control characters, however it was encoded."""
    return plain(output.decode("utf-8", "replace"))


def _counts(text: str) -> dict[str, int]:
    """How many tests passed and failed, from the last line that says so, in the manner of the common runners."""
    if (ran := _UNITTEST.findall(text)) != []:
        bad = _UNITTEST_BAD.search(text)
        failed = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", bad["counts"])) if bad else 0
        return {"passed": int(ran[-1]) - failed, "failed": failed}
    if node := dict(_NODE.findall(text)):
        return {"passed": int(node.get("pass", 0)), "failed": int(node.get("fail", 0))}
    for line in reversed(text.splitlines()):
        if found := _COUNT.findall(line):
            counts = {word: int(number) for number, word in found}
            return {word: counts[word] for word in ("passed", "failed", "error", "errors", "skipped") if word in counts}
    return {}
