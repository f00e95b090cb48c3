"""What the commands about prices share: the book that is meant, and whether it knows a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call
from crewcap.core.pricing import UnknownPrice

if TYPE_CHECKING:
    from crewcap.prices import Book

overrides_option = click.option(
    "--overrides", metavar="FILE", help="A price file of your own, laid over the shipped one."
)


def book_of(call: Call, overrides: str | None) -> Book:
    """The settings' book, or one with another file."""
    if overrides is None:
        return call.app.book
    from crewcap import prices  # noqa: PLC0415

    return prices.load(overrides)


def knows(call: Call, book: Book, provider: str, name: str) -> bool:
    """Whether a price list has the name now."""
    try:
        book.resolve(provider, name, at=call.clock())
    except UnknownPrice:
        return False
    return True
