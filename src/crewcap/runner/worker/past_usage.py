"""Past usage, watched: what agents leave on this machine is imported as long as somebody serves, if that is set.

A round reads what has changed since the last one, a bounded part of it; where nothing has, it looks at sizes and times
and opens nothing. The setting is asked after each round, so it may change while we serve, and with other prices the
rounds begin again. It is a second opinion beside the books: what goes wrong with it is said once, and holds up nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from crewcap.errors import CrewcapError
from crewcap.runner.house import House

log = logging.getLogger(__name__)

SAID_EVERY = timedelta(hours=1)


class Round(Protocol):
    """What one round did."""

    @property
    def read(self) -> int:
        """Transcripts that were opened."""
        ...

    @property
    def bytes_read(self) -> int:
        """Of them."""
        ...

    @property
    def left(self) -> int:
        """Transcripts that are for the next round, which comes at once."""
        ...

    @property
    def problems(self) -> Mapping[str, int]:
        """How many could not be read, by reason."""
        ...


Rounds = Callable[[], AsyncGenerator[Round, None]]
"""Rounds without an end, at the prices of now."""


@dataclass(slots=True, kw_only=True)
class PastUsage:
    """The duty of a worker."""

    house: House
    rounds: Rounds
    _read: int = 0  # since it was last said
    _bytes: int = 0
    _said_at: datetime | None = None
    _failed: str = ""  # what was said of it last
    _problems: Mapping[str, int] = field(default_factory=dict)

    async def look(self) -> None:
        """Import, round by round, until the settings or the prices are others."""
        try:
            await self._import()
        except CrewcapError as error:
            if self._is_news(error.message):
                log.warning("past usage is not imported: %s", error.message)
        except Exception as error:  # an agent may write anything; it is tried again, and told of once
            if self._is_news(repr(error)):
                log.exception("past usage is not imported")

    def _is_news(self, failed: str) -> bool:
        before, self._failed = self._failed, failed
        return failed != before

    async def _import(self) -> None:
        book = self.house.book
        if not self._is_wanted():
            return
        async with aclosing(self.rounds()) as rounds:
            async for done in rounds:
                self._failed = ""
                self._say(done)
                if not self._is_wanted() or self.house.book is not book:
                    return

    def _is_wanted(self) -> bool:
        return self.house.settings.serve.watch_usage

    def _say(self, done: Round) -> None:
        """The first time that all is read, and from then on once an hour where something was; new troubles at once."""
        for why in done.problems.keys() - self._problems.keys():
            log.warning("past usage: %d left out: %s", done.problems[why], why)
        self._problems = dict(done.problems)
        self._read, self._bytes = self._read + done.read, self._bytes + done.bytes_read
        now = self.house.clock()
        is_first = self._said_at is None
        is_due = self._said_at is not None and self._read and now - self._said_at >= SAID_EVERY
        if not done.left and (is_first or is_due):
            files = "1 transcript" if self._read == 1 else f"{self._read:,} transcripts"
            log.info("past usage: %s read, %.1f MB: crewcap usage", files, self._bytes / 1_000_000)
            self._read, self._bytes, self._said_at = 0, 0, now
