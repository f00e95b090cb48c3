"""What was paid for before, read once for the commands that learn from it."""

from __future__ import annotations

import calendar
from datetime import date, datetime
from zoneinfo import ZoneInfo

from crewcap.cli.context import Call
from crewcap.cli.period import read_period, read_zone
from crewcap.core.budget import ALL, Scope
from crewcap.core.history import Job, jobs
from crewcap.stores import Entry

_MOST_RUNS = 1_000_000


def entries_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Entry, ...]:
    """Closed requests, oldest first; none where there are no books yet."""
    return () if call.app.is_new else call.app.ledger.entries(scope=scope, since=since)


def jobs_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Job, ...]:
    """Runs, and what keys did without one, oldest first."""
    if call.app.is_new:
        return ()
    return jobs(entries_of(call, scope=scope, since=since), call.app.runs.list(limit=_MOST_RUNS))


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
