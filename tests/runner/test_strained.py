"""What limits have to do with a failure, as far as anybody can know."""

from __future__ import annotations

import pytest

from crewcap.runner.strained import strain
from crewcap.workspaces import Limits


def test_a_failure_that_no_limit_explains_is_left_alone() -> None:
    assert strain((), b"MemoryError\nE   assert 1 == 2\n") == ""


def test_what_the_kernel_told_comes_first() -> None:
    assert strain(("memory", "processes")) == "it met its limit on memory and processes"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"OSError: [Errno 27] File too large", "it says that a file reached its limit on file size (4 GiB)"),
        (b"make: *** File size limit exceeded", "it says that a file reached its limit on file size (4 GiB)"),
        (b"Error: EFBIG: file too large, write", "it says that a file reached its limit on file size (4 GiB)"),
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


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"sh: 1: Cannot fork", "no more processes could be started: its limit on processes (200)"),
        (
            b"bash: fork: retry: Resource temporarily unavailable",
            "no more processes could be started: its limit on processes (200)",
        ),
        (b"RuntimeError: can't start new thread", "no more processes could be started: its limit on processes (200)"),
        (
            b"BlockingIOError: [Errno 11] Resource temporarily unavailable",
            "something was not available, perhaps for its limit on processes (200)",
        ),
    ],
)
def test_a_program_that_could_start_no_more_processes_names_the_limit(said: bytes, words: str) -> None:
    assert strain((), said, Limits(processes=200)) == f"it says that {words}"
    assert strain(("processes",), said, Limits(processes=200)) == "it met its limit on processes"
    assert strain((), said, Limits(processes=None)) == ""


def test_a_temporary_folder_is_told_as_large_as_it_was() -> None:
    assert strain((), b"No space left on device", Limits(disk_bytes=200 << 20)) == (
        "it says that a temporary folder (200 MiB), /dev/shm (200 MiB) or the disk is full"
    )
