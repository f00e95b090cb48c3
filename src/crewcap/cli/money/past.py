"""What was paid for before, read once for the commands that learn from it."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from crewcap.cli.context import Call
from crewcap.cli.screen.period import read_period, read_zone
from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.history import Job
from crewcap.core.history import jobs_of as core_jobs_of
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run
from crewcap.stores import Entry

_MOST_RUNS = 1_000_000


def entries_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Entry, ...]:
    """Closed requests, oldest first; none where there are no books yet."""
    return () if call.app.is_new else call.app.ledger.entries(scope=scope, since=since)


def jobs_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Job, ...]:
    """Runs, and what keys did without one, oldest first."""
    return History(call).jobs(scope=scope, since=since)


@dataclass(frozen=True)
class History:
    """The jobs of any scope, from sums of the books; runs and names are read once."""

    call: Call

    def jobs(self, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Job, ...]:
        """Runs, and what keys did without one, oldest first."""
        if self.call.app.is_new:
            return ()
        outlays = self.call.app.reports.outlays(scope=scope, since=since)
        return core_jobs_of(outlays, self._runs, workflow_of=self._workflow_of, repo_of=self._repo_of)

    def cost(self, *, scope: Scope = ALL, since: datetime) -> Money:
        """What a scope has cost since a moment."""
        if self.call.app.is_new:
            return ZERO
        sums = self.call.app.reports.bundles(scope=scope, since=since, in_detail=False)
        return Money(sum(each.spent + each.uncertain for each in sums))

    @cached_property
    def _runs(self) -> Sequence[Run]:
        return self.call.app.runs.list(limit=_MOST_RUNS)

    @cached_property
    def _workflow_of(self) -> Mapping[KeyId, str]:
        return self.call.app.reports.labels("workflow")

    @cached_property
    def _repo_of(self) -> Mapping[KeyId, str]:
        return self.call.app.reports.labels("repo")


def zone_of(call: Call, said: str | None = None) -> ZoneInfo:
    """The zone whose midnights count: as said, else as the settings have it."""
    return read_zone(said or call.app.served.timezone)


def read_since(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Where a stretch of time begins: `30d`, `12h`, `2026-11`, a day."""
    since = read_period(text, "", zone.key, now=now, default_zone=zone.key).since
    return now if since is None else since


def last_of_month(day: date) -> date:
    """The month's last day."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])
