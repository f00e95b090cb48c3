"""A check passed when its exit status says so; its words are for people."""

from __future__ import annotations

import pytest

from crewcap.runner.checks import TAIL_LINES, judge

OUTPUTS = {
    "pytest": (b"=== 41 passed, 1 failed in 0.1s ===\n", "41 passed, 1 failed"),
    "pytest, coloured": (b"\x1b[32m=== \x1b[1m3 passed\x1b[0m in 0.1s ===\x1b[0m", "3 passed"),
    "unittest, red": (b"F..\nRan 3 tests in 0.001s\n\nFAILED (failures=1)\n", "2 passed, 1 failed"),
    "unittest, green": (b"...\nRan 3 tests in 0.001s\n\nOK\n", "3 passed"),
    "node": (b"# tests 5\n# pass 4\n# fail 1\n", "4 passed, 1 failed"),
    "cargo": (b"test result: FAILED. 7 passed; 2 failed; 0 ignored\n", "7 passed, 2 failed"),
    "silent": (b"", "exit 1"),
}


@pytest.mark.parametrize("runner", OUTPUTS)
def test_the_summary_is_in_the_runners_own_numbers(runner: str) -> None:
    output, summary = OUTPUTS[runner]
    assert judge(exit_status=1, output=output, seconds=1).summary == summary


def test_the_exit_status_decides_whatever_the_words_say() -> None:
    """A project may print `0 failed` and still exit 1."""
    assert judge(exit_status=1, output=b"9 passed", seconds=0).result == "failed"
    assert judge(exit_status=0, output=b"1 failed", seconds=0).result == "passed"


def test_a_red_check_keeps_the_last_lines_without_control_characters() -> None:
    output = b"".join(b"line %d\x07\r\n" % number for number in range(1_000))
    tail = judge(exit_status=1, output=output, seconds=0).tail.splitlines()
    assert (len(tail), tail[-1]) == (TAIL_LINES, "line 999")


def test_bytes_that_are_not_text_are_still_a_check() -> None:
    assert judge(exit_status=0, output=b"\xff\xfe\x00", seconds=0).summary == "passed"
