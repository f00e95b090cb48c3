"""A home with everything built in it that runs need; the application is one.

What plans a run and what carries it out is asked for by a command as well as by a worker that nobody watches: both
hand over the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from crewcap.home import Home
    from crewcap.prices import Book
    from crewcap.settings.models import Settings
    from crewcap.stores import CacheTurns, Ledger, RunStore
    from crewcap.workspaces.repository.mirrors import Mirrors


class House(Protocol):
    """One home, its settings, books, runs, prices and repositories."""

    @property
    def home(self) -> Home:
        """Where its state is."""
        ...

    @property
    def config_path(self) -> Path | None:
        """The settings file, where one is named."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables; a worker's have the names of providers' keys and not their values."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """The wall clock."""
        ...

    @property
    def settings(self) -> Settings:
        """As they stand."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The books."""
        ...

    @property
    def runs(self) -> RunStore:
        """Runs and what is said to them."""
        ...

    @property
    def book(self) -> Book:
        """Prices."""
        ...

    @property
    def mirrors(self) -> Mirrors:
        """Repositories."""
        ...

    @property
    def cache_turns(self) -> CacheTurns:
        """What was seen of prompt caches."""
        ...
