"""Money, scopes and columns, as the money commands read and show them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from crewcap.cli.screen.figures import Screen, columns_of, pad, wrap
from crewcap.core.budget import Scope, ScopeError, parse_scope
from crewcap.core.money import Money, MoneyError
from crewcap.errors import UsageError

_ANY = 1_000_000  # columns of a pipe


def read_amount(text: str, what: str) -> Money:
    """Dollars from the command line."""
    try:
        return Money.usd(text)
    except MoneyError as error:
        message, _, better = str(error).partition("; ")
        raise UsageError(f"{what}: {message}", help=better or "dollars, such as 25 or 25.00") from error


def read_scope(text: str, what: str) -> Scope:
    """A scope from the command line."""
    try:
        return parse_scope(text)
    except ScopeError as error:
        message, _, better = str(error).partition("; ")
        raise UsageError(f"{what}: {message}", help=better) from error


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> Iterator[str]:
    """Rows in columns as wide as they must be; those in `right` are set to the right."""
    widths = [max(columns_of(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = (
            " " * (width - columns_of(cell)) + cell if place in right else pad(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def fitted(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int,
    *,
    right: frozenset[int] = frozenset(),
    named: int = 1,
) -> Iterator[str]:
    """A table where it is no wider than the screen; else each row by itself: its first cells, below them the others."""
    lines = list(table([head, *rows], right=right))
    if all(columns_of(line) <= columns for line in lines):
        yield from lines
        return
    for row in rows:
        yield from wrap(" ".join(row[:named]), columns)
        said = [f"{name} {cell}" for name, cell in zip(head[named:], row[named:], strict=True) if cell.strip()]
        yield from (f"  {line}" for line in _flowed(said, columns - 2))


def folded(lines: Iterable[str], columns: int) -> Iterator[str]:
    """Lines as they are where they fit; else broken between words, the rest a little to the right of its beginning."""
    for line in lines:
        if columns_of(line) <= columns:
            yield line
            continue
        margin = line[: len(line) - len(line.lstrip())]
        yield from (f"{margin}{part}" for part in wrap(line, columns - len(margin), indent="  "))


def room(environ: Mapping[str, str]) -> int:
    """Columns that a line on stdout may take: a pipe takes what comes, unless somebody said how wide it is."""
    screen = Screen.of(sys.stdout, environ)
    return screen.columns if screen.is_terminal or environ.get("COLUMNS") else _ANY


def _flowed(parts: Sequence[str], columns: int) -> Iterator[str]:
    """Parts with commas between them, as many on a line as fit."""
    line = ""
    for place, part in enumerate(parts, start=1):
        said = f"{part}," if place < len(parts) else part
        if line and columns_of(f"{line} {said}") > columns:
            yield from wrap(line, columns)
            line = ""
        line = f"{line} {said}".lstrip()
    yield from wrap(line, columns)
