"""Where everything is put together: the only file that names concrete adapters side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from crewcap.home import Home

if TYPE_CHECKING:
    from crewcap.config import Settings
    from crewcap.prices import Book
    from crewcap.stores.sqlite import SqliteLedger
    from crewcap.stores.sqlite_runs import SqliteRuns
    from crewcap.workspaces.mirrors import Mirrors


def _ticks() -> float:
    """Seconds that also pass while the machine sleeps, where it counts them: a laptop that wakes up did not jump."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(kw_only=True)
class App:
    """One home with its settings, books, runs and prices; each is built when it is first asked for."""

    home: Home
    config_path: Path | None
    environ: Mapping[str, str] = field(repr=False)
    clock: Callable[[], datetime]
    monotonic: Callable[[], float] = _ticks

    @cached_property
    def settings(self) -> Settings:
        """The settings file, or the defaults; `SettingsError` names what is wrong with it."""
        from crewcap import config  # noqa: PLC0415  (pydantic is not for --help)

        return config.load(self.config_path, self.environ)

    @cached_property
    def book(self) -> Book:
        """The price book."""
        from crewcap import prices  # noqa: PLC0415  (a third of a second)

        return prices.load(self.settings.price_overrides or None)

    @cached_property
    def ledger(self) -> SqliteLedger:
        """The books, with the settings' budgets in force."""
        from crewcap.stores.sqlite import SqliteLedger  # noqa: PLC0415

        self.home.make()
        ledger = SqliteLedger(self.home, clock=self.clock, monotonic=self.monotonic, zone=self.settings.timezone)
        self.settings.bring_limits(ledger)
        return ledger

    @cached_property
    def runs(self) -> SqliteRuns:
        """The runs of this home; the ledger is opened first, because it makes and guards the file."""
        from crewcap.stores.sqlite_runs import SqliteRuns  # noqa: PLC0415

        _ = self.ledger
        return SqliteRuns(self.home, clock=self.clock)

    @cached_property
    def mirrors(self) -> Mirrors:
        """Repositories, their trusted mirrors, and workspaces made from them."""
        from crewcap.workspaces.mirrors import Mirrors  # noqa: PLC0415

        self.home.make()
        return Mirrors(self.home.mirrors, environ=self.environ)

    def close(self) -> None:
        """Close what was opened."""
        for name in ("ledger", "runs"):
            if name in self.__dict__:
                self.__dict__[name].close()
