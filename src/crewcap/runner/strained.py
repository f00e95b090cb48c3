"""What a run's limits have to do with a command that failed, as far as anybody can know.

The kernel tells which of a command's processes it ended for memory, and whether a control group refused more of them.
What it refused otherwise (a write, a process where no group counts them) only the program knows of, and most say it in
the system's own words. A program that gave up by itself (`MemoryError`, an allocation that Node or a JVM bounds on its
own) leaves no sign, and nothing is claimed of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crewcap.workspaces import Limits
from crewcap.workspaces.sandbox.limits import SHARED_BYTES, TEMPORARY_BYTES, no_more

_TOO_LARGE = re.compile(rb"file too large|file size limit exceeded", re.IGNORECASE)
_FULL = re.compile(rb"no space left on device", re.IGNORECASE)
_NO_PROCESS = re.compile(
    rb"cannot fork|fork: (?:retry: )?resource temporarily"
    rb"|can't start new thread|unable to create (?:native |new )?thread",
    re.IGNORECASE,
)
_NOT_NOW = re.compile(rb"resource temporarily unavailable", re.IGNORECASE)
_LAST_BYTES = 16_384
_UNITS = {30: "GiB", 20: "MiB", 10: "KiB"}


def strain(limits_met: Sequence[str], output: bytes = b"", limits: Limits | None = None) -> str:
    """Limits that its failure is probably about, in a few words; empty = none that can be known."""
    limits = limits or Limits()
    met = " and ".join(_file_size(limits) if name == "file size" else name for name in limits_met)
    signs = {"processes": _of_processes, "file size": _of_large_files, "": _of_full_folders}
    said = [
        words for name, sign in signs.items() if name not in limits_met for words in sign(output[-_LAST_BYTES:], limits)
    ]
    return "; ".join([*([f"it met its limit on {met}"] if met else []), *(f"it says that {words}" for words in said)])


def _file_size(limits: Limits) -> str:
    """No file may be larger than all of them together."""
    if limits.disk_bytes is not None and limits.disk_bytes < (limits.file_bytes or limits.disk_bytes + 1):
        return f"file size (disk, {_size(limits.disk_bytes)})"
    return f"file size ({_size(limits.file_bytes)})" if limits.file_bytes is not None else "file size"


def _of_processes(output: bytes, limits: Limits) -> Iterator[str]:
    """What is refused beyond the number of processes has the name of whatever is only not there yet."""
    if limits.processes is None:
        return
    if _NO_PROCESS.search(output):
        yield f"no more processes could be started: its limit on processes ({limits.processes})"
    elif _NOT_NOW.search(output):
        yield f"something was not available, perhaps for its limit on processes ({limits.processes})"


def _of_large_files(output: bytes, limits: Limits) -> Iterator[str]:
    if _TOO_LARGE.search(output):
        yield f"a file reached its limit on {_file_size(limits)}"


def _of_full_folders(output: bytes, limits: Limits) -> Iterator[str]:
    if _FULL.search(output):
        temporary, shared = _size(no_more(TEMPORARY_BYTES, limits)), _size(no_more(SHARED_BYTES, limits))
        yield f"a temporary folder ({temporary}), /dev/shm ({shared}) or the disk is full"


def _size(count: int) -> str:
    step = next((step for step in _UNITS if count >> step << step == count), 0)
    return f"{count >> step} {_UNITS.get(step, 'bytes')}"
