"""Where everything is put together: the only file that names concrete adapters side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from crewcap.home import Home

if TYPE_CHECKING:
    from crewcap.config import Settings
    from crewcap.core.money import Money
    from crewcap.prices import Book
    from crewcap.settings.served import Served
    from crewcap.stores import Ledger, Reports
    from crewcap.stores.postgres.prices import PostgresPriceNotes
    from crewcap.stores.postgres.runs import PostgresRuns
    from crewcap.stores.postgres.savings import PostgresCacheTurns
    from crewcap.stores.sqlite.prices import SqlitePriceNotes
    from crewcap.stores.sqlite.runs import SqliteRuns
    from crewcap.stores.sqlite.savings import SqliteCacheTurns
    from crewcap.stores.usage.index import UsageIndex
    from crewcap.workspaces.repository.authorship import Authorship
    from crewcap.workspaces.repository.mirrors import Mirrors


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

    def go_by(self, settings: Settings) -> None:
        """Take these settings from now on, their budgets first: where the books refuse them, the old ones stay."""
        settings.bring_limits(self.ledger)
        self.__dict__.update(settings=settings, served=settings)

    @cached_property
    def served(self) -> Served:
        """The part that a gateway goes by; it is handed that, with its book, and never reads the whole."""
        return self.settings

    @cached_property
    def book(self) -> Book:
        """The price book; a card is compiled when it is asked for, all of them for the hash of the whole table."""
        from crewcap import prices  # noqa: PLC0415  (the library's data are a tenth of a second)

        return prices.load(self.price_overrides or None, compiled=False)

    @property
    def price_overrides(self) -> str:
        """Prices of the user's own; without a settings file there are none, which is known without reading any."""
        from crewcap.settings.place import find  # noqa: PLC0415

        is_read = bool({"settings", "served"} & set(self.__dict__))
        return (self.served.price_overrides or "") if is_read or find(self.config_path, self.environ) else ""

    @property
    def is_new(self) -> bool:
        """Whether there are no books yet: then nothing is made only to be looked at."""
        return self.home.is_new and not self.served.store_url

    @cached_property
    def ledger(self) -> Ledger:
        """The books, with the settings' budgets in force."""
        self.home.make()
        ledger = self._open_ledger()
        try:
            self.served.bring_limits(ledger)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @cached_property
    def runs(self) -> SqliteRuns | PostgresRuns:
        """The runs of this home."""
        return self.more_runs()

    def more_runs(self) -> SqliteRuns | PostgresRuns:
        """The same by a session of its own; the ledger is opened first: it knows where they are, and guards them."""
        _ = self.ledger
        if self.served.store_url:
            from crewcap.stores.postgres.runs import PostgresRuns  # noqa: PLC0415

            return PostgresRuns(self.home, self.served.store_url, clock=self.clock)
        from crewcap.stores.sqlite.runs import SqliteRuns  # noqa: PLC0415

        return SqliteRuns(self.home, clock=self.clock)

    @cached_property
    def cache_turns(self) -> SqliteCacheTurns | PostgresCacheTurns:
        """What was seen of prompt caches, beside the books."""
        _ = self.ledger
        if self.served.store_url:
            from crewcap.stores.postgres.savings import PostgresCacheTurns  # noqa: PLC0415

            return PostgresCacheTurns(self.served.store_url)
        from crewcap.stores.sqlite.savings import SqliteCacheTurns  # noqa: PLC0415

        return SqliteCacheTurns(self.home)

    @cached_property
    def reports(self) -> Reports:
        """What reports read of the books."""
        _ = self.ledger
        if self.served.store_url:
            from crewcap.stores.postgres.reports import PostgresReports  # noqa: PLC0415

            return PostgresReports(self.served.store_url)
        from crewcap.stores.sqlite.reports import SqliteReports  # noqa: PLC0415

        return SqliteReports(self.home)

    @cached_property
    def price_notes(self) -> SqlitePriceNotes | PostgresPriceNotes:
        """What is remembered of prices, beside the books."""
        _ = self.ledger
        if self.served.store_url:
            from crewcap.stores.postgres.prices import PostgresPriceNotes  # noqa: PLC0415

            return PostgresPriceNotes(self.served.store_url)
        from crewcap.stores.sqlite.prices import SqlitePriceNotes  # noqa: PLC0415

        return SqlitePriceNotes(self.home)

    @cached_property
    def usage(self) -> UsageIndex:
        """What transcripts told of past usage."""
        from crewcap.stores.usage.index import UsageIndex  # noqa: PLC0415

        self.home.make()
        return UsageIndex(self.home.usage)

    @property
    def ledger_name(self) -> str:
        """Where the books are, as people are told."""
        if not self.served.store_url:
            return str(self.home.ledger)
        from crewcap.stores.postgres.errors import shown  # noqa: PLC0415

        return shown(self.served.store_url)

    @property
    def copied(self) -> str:
        """That these books are a copy of those that this home knows; empty = nothing speaks for it."""
        if not self.served.store_url:
            return ""
        from crewcap.stores.postgres.books import COPIED  # noqa: PLC0415
        from crewcap.stores.postgres.ledger import PostgresLedger  # noqa: PLC0415

        return COPIED if isinstance(self.ledger, PostgresLedger) and self.ledger.is_copy else ""

    def migrate(self) -> Sequence[str]:
        """Bring the books' schema up to date; what was run. A file does so whenever it is opened."""
        self.home.make()
        if not self.served.store_url:
            _ = self.ledger
            return ()
        from crewcap.runner.worker.engine import migrate  # noqa: PLC0415
        from crewcap.stores.postgres.setup import bring_up_to_date  # noqa: PLC0415

        run = bring_up_to_date(self.served.store_url, self.home, zone=self.served.timezone)
        migrate(self.served.store_url)
        return run

    def accept_restored(self, *, cost: Money, word: str) -> None:
        """Take books that were restored as the ledger from now on."""
        if self.served.store_url:
            from crewcap.stores.postgres import setup  # noqa: PLC0415

            url = self.served.store_url
            setup.accept(url, self.home, monotonic=self.monotonic, cost=cost, word=word)
        else:
            from crewcap.stores.sqlite import copies  # noqa: PLC0415

            copies.accept(self.home, at=self.clock(), cost=cost, word=word)

    def _open_ledger(self) -> Ledger:
        if self.served.store_url:
            from crewcap.stores.postgres.ledger import PostgresLedger  # noqa: PLC0415

            return PostgresLedger(self.home, self.served.store_url, monotonic=self.monotonic)
        from crewcap.stores.sqlite.ledger import SqliteLedger  # noqa: PLC0415

        return SqliteLedger(self.home, clock=self.clock, monotonic=self.monotonic, zone=self.served.timezone)

    @cached_property
    def mirrors(self) -> Mirrors:
        """Repositories, their trusted mirrors, and workspaces made from them."""
        from crewcap.workspaces.repository.mirrors import Mirrors  # noqa: PLC0415

        self.home.make()
        return Mirrors(self.home.mirrors, environ=self.environ, authorship=self._authorship)

    def _authorship(self) -> Authorship:
        from crewcap.workspaces.repository.authorship import Authorship  # noqa: PLC0415

        ours = self.settings.git
        return Authorship(name=ours.author, email=ours.email, sign_off=ours.sign_off, signing_key=ours.signing_key)

    def close(self) -> None:
        """Close what was opened."""
        for name in ("cache_turns", "reports", "price_notes", "usage", "ledger", "runs"):
            if name in self.__dict__:
                self.__dict__[name].close()
