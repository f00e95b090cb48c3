"""What limits have to do with a failure, as far as anybody can know."""

from __future__ import annotations

import pytest

from crewcap.runner.strained import strain


def test_a_failure_that_no_limit_explains_is_left_alone() -> None:
    assert strain((), b"MemoryError\nE   assert 1 == 2\n") == ""


def test_what_the_kernel_told_comes_first() -> None:
    assert strain(("memory", "processes")) == "it met its limit on memory and processes"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"OSError: [Errno 27] File too large", "it says that a file reached its limit on file size, or on disk"),
        (b"Error: EFBIG: file too large, write", "it says that a file reached its limit on file size, or on disk"),
        (
            b"cp: error writing '/tmp/x': No space left on device",
            "it says that a temporary folder (4 GiB), /dev/shm (1 GiB) or the disk is full",
        ),
    ],
)
def test_a_program_that_says_why_it_could_not_write_is_believed(said: bytes, words: str) -> None:
    assert strain((), b"much before\n" * 9 + said + b"\n") == words


def test_what_was_said_long_before_the_end_is_not_why_it_failed() -> None:
    assert strain((), b"No space left on device\n" + b"x" * 20_000) == ""
