"""CSV that no spreadsheet takes for a formula.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return is computed by spreadsheets when a file is
opened, and names of runs, issues and branches come from strangers. Such a cell gets an apostrophe in front, which
spreadsheets take away again. Numbers of ours are left as they are: a difference may begin with a minus.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide ones as well
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?\Z", re.ASCII)


class Writes(Protocol):
    """Takes text: a file, or the terminal."""

    def write(self, text: str, /) -> object:
        """Take it."""
        ...


def safe(cell: str) -> str:
    """A cell that is read as text, or as the number that it is."""
    return f"'{cell}" if cell.startswith(_RISKY) and not _NUMBER.match(cell) else cell


def write(out: Writes, head: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """A whole table, a row at a time; how many rows it has."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    number = 0
    for number, row in enumerate(rows, start=1):  # noqa: B007  (the last number is the count)
        writer.writerow([safe(cell) for cell in row])
    return number
