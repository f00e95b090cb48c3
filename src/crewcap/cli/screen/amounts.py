"""Money, scopes and columns, as the money commands read and show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crewcap.cli.screen.figures import columns_of, pad
from crewcap.core.budget import Scope, ScopeError, parse_scope
from crewcap.core.money import Money, MoneyError
from crewcap.errors import UsageError


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
