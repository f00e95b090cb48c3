"""Floor 2: what models cost. `load()` gives the book; nothing here is read from the network."""

from __future__ import annotations

from crewcap.prices.book import Book, Description, Offer
from crewcap.prices.overrides import Overrides, read, shipped

__all__ = ["Book", "Description", "Offer", "library_alone", "load"]


def load(overrides: str | None = None, *, compiled: bool = True) -> Book:
    """The installed price data with our shipped overrides, and a user's own TOML file before both.

    Whoever asks for a few cards only has each compiled when it is asked for.
    """
    ours = shipped()
    return Book(read(overrides).over(ours) if overrides else ours, compiled=compiled)


def library_alone() -> Book:
    """The library's prices without a line of ours, to compare with."""
    return Book(Overrides())
