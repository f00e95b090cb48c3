"""Settings and prices that change while a gateway runs.

They are read again when the settings file, or the price file that it names, has changed; at SIGHUP; and when the
control socket is told so. What is read is looked at as a whole before anything is changed:

    good      budgets and limits go into the ledger, keys are read from their sources, and then providers, policy and
              price book are exchanged in one step, between two requests. A request keeps to its end what it began
              with, and its entry names the book that it was held and settled by
    broken    everything stays as it was, and the log says why, in one line, once

A file that is being written may be cut short and still be right TOML, with half of its budgets: so a change is only
believed once the file has stayed the same from one look to the next. A file that is gone is broken in this sense too:
taking away the limits of a running gateway needs a file that says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewcap.errors import CrewcapError, SettingsError
from crewcap.gateway.money.admission import Prices
from crewcap.settings import place

if TYPE_CHECKING:
    from crewcap.settings.served import Served

log = logging.getLogger(__name__)

Look = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a gateway goes by, as it was read."""

    settings: Served
    book: Prices


@dataclass(slots=True, kw_only=True)
class Reloader:
    """Reads again, and tells the gateway; one of these a gateway."""

    now: Loaded  # what holds
    files: Callable[[Loaded], Iterable[Path]]
    """The files that what holds was read from, or would be read from if they were there."""
    load: Callable[[Loaded], Loaded]
    """Read everything again; blocking. It is given what holds, for parts that need not be made anew."""
    renew: Callable[[Loaded], Awaitable[None]]
    """Go by this from the next request on, or raise and go on as before."""
    problem: str = ""  # why what is in the files does not hold; empty = it does
    _held: Look = ()  # the files as they were when they were last read
    _seen: Look = ()  # as they were at the last look
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._held = self._seen = self._look()

    async def look(self) -> None:
        """Read again if the files have changed, and have stayed so since the last look."""
        seen = await asyncio.to_thread(self._look)
        if seen != self._held and seen == self._seen:
            await self._try()
        self._seen = seen

    async def read_again(self) -> None:
        """Read again whatever the files look like; `CrewcapError` says why nothing was changed."""
        if problem := await self._try():
            raise SettingsError(f"the settings stay as they were: {problem.message}", help=problem.help)

    def status(self) -> dict[str, Any]:
        """For whoever asks the gateway."""
        return {"files": [name for name, *_ in self._held], "problem": self.problem}

    async def _try(self) -> CrewcapError | None:
        """Read, check, exchange; what went wrong, if something did."""
        async with self._one:
            held = await asyncio.to_thread(self._look)
            try:
                loaded = await asyncio.to_thread(self.load, self.now)
                await self.renew(loaded)
            except CrewcapError as error:
                self._held = held
                self._complain(error)
                return error
            self.now, self.problem, self._held = loaded, "", self._look_at(loaded, held)
            log.warning("settings and prices were read again", extra={"book": loaded.book.hash})
            return None

    def _complain(self, error: CrewcapError) -> None:
        """Once for each thing that is wrong."""
        if error.message != self.problem:
            log.error("the settings stay as they were: %s", error.message, extra={"help": error.help})
        self.problem = error.message

    def _look(self) -> Look:
        return _signature(self.files(self.now))

    def _look_at(self, loaded: Loaded, before: Look) -> Look:
        """The files of what holds now; those that were read are as they were before they were read."""
        known = {each[0]: each for each in before}
        return tuple(known.get(each[0], each) for each in _signature(self.files(loaded)))


def _signature(files: Iterable[Path]) -> Look:
    """What changes when a file does: its size, its time, and which file it is."""
    return tuple((str(path), *_stat(path)) for path in files)


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where settings and prices are read from."""

    config_path: Path | None
    environ: Mapping[str, str] = field(repr=False)
    read: Callable[[Path | None, Mapping[str, str]], tuple[Served, Prices]]
    """Settings and prices as the files have them now."""

    def of(self, loaded: Loaded) -> tuple[Path, ...]:
        """The settings file, or where one would be found, and the price file that the settings name."""
        found = place.find(self.config_path, self.environ) or place.usual_path(self.environ)
        prices = loaded.settings.price_overrides
        return (found, *((Path(prices).expanduser(),) if prices else ()))

    def load(self, before: Loaded) -> Loaded:
        """Read both again; prices only where their file is another one, or another text."""
        settings, book = self.read(self.config_path, self.environ)
        if before.settings.source and not settings.source:
            raise SettingsError(f"{before.settings.source} is gone", help="put it back, or stop the gateway")
        if settings.store_url != before.settings.store_url:
            raise SettingsError("the ledger's place has changed", help="a gateway keeps its ledger; start another one")
        return Loaded(settings=settings, book=before.book if book.hash == before.book.hash else book)
